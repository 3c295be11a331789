"""Orchestrator and TensorFlow Serving: settings, flags, files, GPUs, replicas."""

import json
import re
from pathlib import Path

import pytest

from orchestrator.commands.model import PATIENCE_S
from orchestrator.model_contract import MODEL_NAME
from orchestrator.model_server.fingerprint import model_sha256
from tests.unit.deployment import serving_flags
from tests.unit.deployment.manifests import (
    GUARDED,
    MODEL_SERVER,
    OVERLAYS,
    Manifest,
    WithComponent,
    containers_of,
    environment,
    main_container,
    named,
    of_kind,
    pod_of,
    workloads,
)
from tests.unit.deployment.settings_of import longest_request_s, orchestrator_settings, setting_exists


class TestOrchestrator:
    def test_every_variable_is_a_setting(self, overlay: list[Manifest]) -> None:
        container = main_container(named(overlay, "Deployment", "orchestrator"))
        for name in environment(overlay, container):
            assert setting_exists(name), name
        orchestrator_settings(overlay)  # and every value is accepted

    def test_it_asks_the_model_server_of_its_namespace(self, served: list[Manifest]) -> None:
        chosen = orchestrator_settings(served).tf_serving
        assert chosen.target is not None
        name, port = chosen.target.split(":")
        service = named(served, "Service", name)
        assert int(port) in {entry["port"] for entry in service["spec"]["ports"]}

    def test_its_start_may_wait_for_the_model_server_to_load(self, served: list[Manifest]) -> None:
        probe = main_container(named(served, "Deployment", "orchestrator"))["startupProbe"]
        settings = orchestrator_settings(served)
        waits = settings.tf_serving.start_timeout_s
        assert probe["periodSeconds"] * probe["failureThreshold"] > waits
        (server,) = {
            probe["periodSeconds"] * probe["failureThreshold"]
            for probe in (main_container(w)["startupProbe"] for w in workloads(served, MODEL_SERVER))
        }
        assert waits >= server or settings.failover.enabled  # which starts without it

    def test_readiness_asks_the_model_server_and_liveness_does_not(self, overlay: list[Manifest]) -> None:
        container = main_container(named(overlay, "Deployment", "orchestrator"))
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_a_misspelt_setting_is_noticed() -> None:
    assert setting_exists("WBC_HTTP__PORT")
    assert not setting_exists("WBC_HTTP__PROT")
    assert not setting_exists("WBC_HTTP__PORT__NUMBER")
    assert not setting_exists("HTTP_PORT")


class TestModelServer:
    def test_every_flag_is_known_and_set_as_it_should_be(self, served: list[Manifest]) -> None:
        for server in workloads(served, MODEL_SERVER):
            container = main_container(server)
            assert container["command"] == ["tensorflow_model_server"]
            flags = serving_flags.parse(container["args"])
            assert flags["enable_profiler"] == "false"
            assert flags["enable_batching"] == "true"
            assert flags["enable_grpc_healthcheck_service"] == "true"
            channel = dict(pair.split("=") for pair in flags["grpc_channel_arguments"].split(","))
            assert 30_000 <= int(channel["grpc.max_connection_age_ms"]) <= 60_000
            longest_ms = longest_request_s(orchestrator_settings(served)) * 1000
            assert int(channel["grpc.max_connection_age_grace_ms"]) > longest_ms

    def test_the_files_that_its_flags_name_are_mounted(self, served: list[Manifest]) -> None:
        for server in workloads(served, MODEL_SERVER):
            container = main_container(server)
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            (volume,) = (v for v in pod_of(server)["volumes"] if v["name"] == "config")
            config = named(served, "ConfigMap", volume["configMap"]["name"])["data"]
            named_files = [
                value
                for name, value in serving_flags.parse(container["args"]).items()
                if name.endswith("_config_file") or name == "batching_parameters_file"
            ]
            assert len(named_files) == 3
            for path in named_files:
                assert path.removeprefix(f"{mounts['config']}/") in config
            bases = re.findall(r'base_path: "([^"]+)"', config["models.config"])
            assert bases == [f"{mounts['model']}/{MODEL_NAME}"]

    def test_startup_waits_for_load_and_warm_up(self, served: list[Manifest]) -> None:
        for server in workloads(served, MODEL_SERVER):
            probe = main_container(server)["startupProbe"]
            assert probe["grpc"]["port"] == 8500
            assert probe["periodSeconds"] * probe["failureThreshold"] >= 300

    def test_readiness_asks_for_the_model(self, served: list[Manifest]) -> None:
        for server in workloads(served, MODEL_SERVER):
            path = main_container(server)["readinessProbe"]["httpGet"]["path"]
            assert path == f"/v1/models/{MODEL_NAME}/metadata"

    def test_it_has_a_thread_for_each_cpu_that_it_asks_for(self, served: list[Manifest]) -> None:
        for server in workloads(served, MODEL_SERVER):
            container = main_container(server)
            threads = serving_flags.parse(container["args"])["tensorflow_intra_op_parallelism"]
            assert container["resources"]["requests"]["cpu"] in (threads, "1")  # what a laptop can spare


def test_an_unknown_flag_is_noticed() -> None:
    with pytest.raises(ValueError, match="enable_bathing"):
        serving_flags.parse(["--port=8500", "--enable_bathing=true"])
    with pytest.raises(ValueError, match="twice"):
        serving_flags.parse(["--port=8500", "--port=8501"])
    with pytest.raises(ValueError, match="excludes"):
        serving_flags.parse(["--tensorflow_session_parallelism=4", "--tensorflow_intra_op_parallelism=4"])
    with pytest.raises(ValueError, match="--name=value"):
        serving_flags.parse(["--enable_batching"])


class TestInferenceProbe:
    @pytest.mark.parametrize("name", ["staging", "production-gpu", "production-h100", "production-triton"])
    def test_what_hangs_is_restarted_and_what_is_slow_is_not(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        (server,) = workloads(overlays[name], MODEL_SERVER)
        sidecar, container = pod_of(server)["initContainers"][0], main_container(server)
        assert sidecar["restartPolicy"] == "Always"
        assert sidecar["command"][:3] == ["wbc", "model", "probe"]
        asked = environment(overlays[name], sidecar)
        grpc = next(port["containerPort"] for port in container["ports"] if port["name"] == "grpc")
        assert asked["WBC_TF_SERVING__TARGET"] == f"127.0.0.1:{grpc}"
        settings = orchestrator_settings(overlays[name])
        assert asked.get("WBC_TF_SERVING__PROTOCOL", "tf_serving") == settings.tf_serving.protocol
        probe = container["livenessProbe"]
        assert probe["httpGet"] == {"path": "/livez", "port": 8503}
        assert probe["timeoutSeconds"] > PATIENCE_S + settings.tf_serving.timeout_s
        assert probe["failureThreshold"] * probe["periodSeconds"] >= 60

    @pytest.mark.parametrize("name", OVERLAYS)
    def test_it_is_not_asked_over_tls_whose_name_it_has_not(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        sidecars = [
            container["name"]
            for workload in workloads(overlays[name])
            for container in containers_of(workload)
            if container.get("restartPolicy") == "Always"
        ]
        assert not (sidecars and orchestrator_settings(overlays[name]).tf_serving.tls)


class TestModelHash:
    @pytest.mark.parametrize("name", ["staging", "production-gpu", "production-h100"])
    def test_the_pod_checks_the_files_that_it_serves_against_what_results_tell(
        self, overlays: dict[str, list[Manifest]], name: str, project_root: Path
    ) -> None:
        (server,) = workloads(overlays[name], MODEL_SERVER)
        *_, copier, check = pod_of(server)["initContainers"]  # in turn
        assert (copier["name"], check["name"]) == ("model", "model-hash")
        (mount,) = (m for m in check["volumeMounts"] if m["name"] == "model")
        assert check["command"] == ["wbc", "model", "verify", f"{mount['mountPath']}/{MODEL_NAME}"]
        told = environment(overlays[name], check)["WBC_TF_SERVING__SHA256"]
        hashes = orchestrator_settings(overlays[name]).tf_serving.sha256
        assert {int(version): digest for version, digest in json.loads(told).items()} == hashes
        versions = (project_root / "model_repository" / MODEL_NAME).iterdir()
        assert hashes == {int(path.name): model_sha256(path) for path in versions if path.name.isdecimal()}


class TestGpu:
    def test_the_model_server_gets_one_on_a_node_that_has_it(
        self, overlays: dict[str, list[Manifest]]
    ) -> None:
        for server in workloads(overlays["production-gpu"], MODEL_SERVER):
            container, pod = main_container(server), pod_of(server)
            assert container["image"].endswith("-gpu")
            assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
            assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod[
                "tolerations"
            ]
            required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            (term,) = required["nodeSelectorTerms"]
            wanted = {e["key"]: e["values"] for e in term["matchExpressions"]}
            # What the image has code for: a newer one compiles for half an hour, or does not start.
            assert wanted["nvidia.com/gpu.compute.major"] == ["7", "8"]
            flags = serving_flags.parse(container["args"])
            assert 0 < float(flags["per_process_gpu_memory_fraction"]) < 1

    @pytest.mark.parametrize("name", ["production-gpu", "production-h100"])
    def test_no_caller_waits_while_convolutions_are_tried_out(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        (server,) = workloads(overlays[name], MODEL_SERVER)
        assert {"name": "TF_CUDNN_USE_AUTOTUNE", "value": "0"} in main_container(server)["env"]

    def test_a_newer_gpu_keeps_what_it_compiles_and_has_the_time_for_it(
        self, overlays: dict[str, list[Manifest]]
    ) -> None:
        for server in workloads(overlays["production-h100"], MODEL_SERVER):
            container, pod = main_container(server), pod_of(server)
            required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            (term,) = required["nodeSelectorTerms"]
            assert {"key": "nvidia.com/gpu.compute.major", "operator": "In", "values": ["9"]} in term[
                "matchExpressions"
            ]
            variables = {entry["name"]: entry["value"] for entry in container["env"]}
            (mount,) = (
                m for m in container["volumeMounts"] if m["mountPath"] == variables["CUDA_CACHE_PATH"]
            )
            (volume,) = (v for v in pod["volumes"] if v["name"] == mount["name"])
            assert "persistentVolumeClaim" in volume
            assert int(variables["CUDA_CACHE_MAXSIZE"]) > 2**30
            probe = container["startupProbe"]
            start_s = probe["periodSeconds"] * probe["failureThreshold"]
            assert 3600 <= start_s < server["spec"]["progressDeadlineSeconds"]

    @pytest.mark.parametrize("name", ["local-cpu", "staging", "production-cpu"])
    def test_nothing_asks_for_one_elsewhere(self, overlays: dict[str, list[Manifest]], name: str) -> None:
        for workload in workloads(overlays[name]):
            for container in containers_of(workload):
                assert "nvidia.com/gpu" not in container["resources"]["limits"]
                assert "gpu" not in container["image"]


class TestCanary:
    def test_the_orchestrator_asks_for_labels_that_there_are(self, with_component: WithComponent) -> None:
        manifests = with_component("canary")
        settings = orchestrator_settings(manifests)
        configs = [m["data"].get("models.config", "") for m in of_kind(manifests, "ConfigMap")]
        labels = set(re.findall(r'version_labels \{ key: "(\w+)"', "".join(configs)))
        assert labels == {settings.tf_serving.version_label, settings.canary.version_label}
        assert settings.tf_serving.version_label == "stable"
        assert 0 < settings.canary.share <= 0.1

    def test_it_names_versions_that_are_there(
        self, with_component: WithComponent, project_root: Path
    ) -> None:
        configs = [m["data"].get("models.config", "") for m in of_kind(with_component("canary"), "ConfigMap")]
        wanted = {int(number) for number in re.findall(r"versions: (\d+)", "".join(configs))}
        versions = (project_root / "model_repository" / MODEL_NAME).iterdir()
        there = {int(path.name) for path in versions if path.name.isdecimal()}
        # A server with a version that is not there never becomes ready.
        assert wanted <= there
        assert max(there) in wanted

    def test_nothing_else_of_the_configuration_is_lost(self, with_component: WithComponent) -> None:
        orchestrator = named(with_component("canary"), "Deployment", "orchestrator")
        with_it = environment(with_component("canary"), main_container(orchestrator))
        plain = with_component("model-init-container")  # which leaves the settings alone
        without = environment(plain, main_container(named(plain, "Deployment", "orchestrator")))
        assert without.items() <= with_it.items()


class TestAutoscaling:
    @pytest.mark.parametrize("name", GUARDED)
    def test_the_autoscaler_alone_sets_the_number_of_replicas(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        scaled = {s["spec"]["scaleTargetRef"]["name"] for s in of_kind(overlays[name], "ScaledObject")}
        assert scaled == {d["metadata"]["name"] for d in of_kind(overlays[name], "Deployment")}
        for deployment in of_kind(overlays[name], "Deployment"):
            assert ("replicas" in deployment["spec"]) == (deployment["metadata"]["name"] not in scaled)

    @pytest.mark.parametrize("name", GUARDED)
    def test_it_scales_on_load_that_its_queries_measure(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        queries = {
            s["metadata"]["name"]: " ".join(t["metadata"]["query"] for t in s["spec"]["triggers"])
            for s in of_kind(overlays[name], "ScaledObject")
        }
        assert "wbc_requests_in_flight" in queries["orchestrator"]
        if "tf-serving" in queries:
            # Little's law: seconds of calls in a second are calls under way; and what was refused.
            assert "wbc_model_server_call_duration_seconds_sum" in queries["tf-serving"]
            assert 'outcome="overloaded"' in queries["tf-serving"]

    def test_calls_under_way_are_shared_out_and_refusals_are_not(
        self, overlays: dict[str, list[Manifest]]
    ) -> None:
        scaled = named(overlays["production-gpu"], "ScaledObject", "tf-serving")
        kinds = {
            "overloaded" in trigger["metadata"]["query"]: trigger["metricType"]
            for trigger in scaled["spec"]["triggers"]
        }
        assert kinds == {False: "AverageValue", True: "Value"}

    def test_a_pod_is_added_before_its_queue_is_full(self, overlays: dict[str, list[Manifest]]) -> None:
        manifests = overlays["production-gpu"]
        (config,) = (m for m in of_kind(manifests, "ConfigMap") if "batching.config" in m["data"])
        values = dict(
            re.findall(r"^(\w+) \{ value: (\d+) \}", config["data"]["batching.config"], re.MULTILINE)
        )
        triggers = named(manifests, "ScaledObject", "tf-serving")["spec"]["triggers"]
        (under_way,) = (
            float(t["metadata"]["threshold"]) for t in triggers if t["metricType"] == "AverageValue"
        )
        # A batch that runs, and the queue: of calls with an image each.
        room = int(values["max_batch_size"]) * (1 + int(values["max_enqueued_batches"]))
        assert 1 < under_way <= room / 2


def test_the_configuration_of_the_server_is_that_of_the_repository(project_root: Path) -> None:
    copies = sorted((project_root / "k8s" / "base" / "serving-config").iterdir())
    assert [path.name for path in copies] == ["batching.config", "models.config", "monitoring.config"]
    for path in copies:
        assert path.read_text() == (project_root / "model_repository" / path.name).read_text()
