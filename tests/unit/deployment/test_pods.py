"""What a careful operator asks of every pod and every Deployment."""

import re

from tests.unit.deployment.manifests import (
    Manifest,
    containers_of,
    main_container,
    named,
    of_kind,
    pod_labels,
    pod_of,
    selects,
    workloads,
)
from tests.unit.deployment.settings_of import longest_request_s, orchestrator_settings


class TestEveryPod:
    def test_it_is_locked_down(self, overlay: list[Manifest], training: list[Manifest]) -> None:
        for workload in [*workloads(overlay), *workloads(training)]:
            pod = pod_of(workload)
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["runAsUser"] >= 10000
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(pod)
            for container in containers_of(workload):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
            # What the level `restricted` of Pod Security lets a pod mount; `image` only from Kubernetes 1.33.
            kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
            assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret", "projected"}

    def test_the_namespace_refuses_pods_that_are_not(self, overlay: list[Manifest]) -> None:
        (namespace,) = of_kind(overlay, "Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"

    def test_it_asks_for_resources_and_has_limits(
        self, overlay: list[Manifest], training: list[Manifest]
    ) -> None:
        for workload in [*workloads(overlay), *workloads(training)]:
            for container in containers_of(workload):
                resources = container["resources"]
                assert {"cpu", "memory"} <= set(resources["requests"])
                assert "memory" in resources["limits"]
                gpus = [resources[kind].get("nvidia.com/gpu") for kind in ("requests", "limits")]
                assert gpus[0] == gpus[1]
            for volume in pod_of(workload)["volumes"]:
                assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]

    def test_its_images_are_pinned_and_never_latest(self, overlay: list[Manifest]) -> None:
        images = [container["image"] for w in workloads(overlay) for container in containers_of(w)]
        images += [
            volume["image"]["reference"]
            for workload in workloads(overlay)
            for volume in pod_of(workload)["volumes"]
            if "image" in volume
        ]
        assert images
        for image in images:
            assert re.fullmatch(r"[\w./-]+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", image), image
            assert re.search(r":[\w.-]+$|@sha256:", image), f"{image} names no tag"
            assert ":latest" not in image

    def test_its_mounts_have_volumes(self, overlay: list[Manifest], training: list[Manifest]) -> None:
        for workload in [*workloads(overlay), *workloads(training)]:
            volumes = {volume["name"] for volume in pod_of(workload)["volumes"]}
            mounts = {mount["name"] for c in containers_of(workload) for mount in c["volumeMounts"]}
            assert mounts == volumes


class TestEveryDeployment:
    def test_it_has_all_three_probes(self, overlay: list[Manifest]) -> None:
        for deployment in of_kind(overlay, "Deployment"):
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(main_container(deployment))

    def test_its_disruption_budget_lets_a_node_drain(self, overlay: list[Manifest]) -> None:
        budgets = of_kind(overlay, "PodDisruptionBudget")
        for deployment in of_kind(overlay, "Deployment"):
            (budget,) = (b for b in budgets if selects(b["spec"]["selector"], pod_labels(deployment)))
            assert budget["spec"]["maxUnavailable"] == 1
            assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"

    def test_its_pods_spread_over_nodes_and_zones(self, overlay: list[Manifest]) -> None:
        for deployment in of_kind(overlay, "Deployment"):
            constraints = pod_of(deployment)["topologySpreadConstraints"]
            assert {c["topologyKey"] for c in constraints} == {
                "kubernetes.io/hostname",
                "topology.kubernetes.io/zone",
            }
            for constraint in constraints:
                assert selects(constraint["labelSelector"], pod_labels(deployment))

    def test_no_pod_goes_before_its_successor_is_ready(self, overlay: list[Manifest]) -> None:
        for deployment in of_kind(overlay, "Deployment"):
            assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}

    def test_a_stop_leaves_time_for_the_longest_request(self, overlay: list[Manifest]) -> None:
        settings = orchestrator_settings(overlay)
        for deployment in of_kind(overlay, "Deployment"):
            wait = main_container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert wait >= 5
            grace = pod_of(deployment)["terminationGracePeriodSeconds"]
            assert grace > wait + longest_request_s(settings)

    def test_the_orchestrator_is_left_alone_until_its_last_answer(self, overlay: list[Manifest]) -> None:
        settings = orchestrator_settings(overlay)
        assert settings.http.drain_delay_s >= 5
        assert settings.http.drain_timeout_s > settings.deadline.longest_s >= settings.deadline.default_s
        orchestrator = named(overlay, "Deployment", "orchestrator")
        wait = main_container(orchestrator)["lifecycle"]["preStop"]["sleep"]["seconds"]
        stop = wait + settings.http.drain_delay_s + settings.http.drain_timeout_s
        assert pod_of(orchestrator)["terminationGracePeriodSeconds"] > stop

    def test_its_selector_selects_its_pods_and_no_others(self, overlay: list[Manifest]) -> None:
        deployments = of_kind(overlay, "Deployment")
        for one in deployments:
            chosen = [d for d in deployments if selects(one["spec"]["selector"], pod_labels(d))]
            assert chosen == [one]
