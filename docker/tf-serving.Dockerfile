# syntax=docker/dockerfile:1.7
# TensorFlow Serving with the model, its configuration and its warm-up records. From the repository's root:
#   VERSION=$(make --silent version)
#   docker build --file docker/tf-serving.Dockerfile --target gpu --build-arg VERSION=$VERSION --tag wbc-tf-serving:$VERSION-gpu .
#   docker build --file docker/tf-serving.Dockerfile --target cpu --build-arg VERSION=$VERSION --tag wbc-tf-serving:$VERSION-cpu .
# 2.21.0 is the newest server; training pins TensorFlow to what it can load.
# For research use only. Not for use in diagnostic procedures.

FROM scratch AS model
# Readable by everyone, whatever the umask of the clone.
COPY --chmod=0755 model_repository /models

FROM tensorflow/serving:2.21.0 AS cpu
COPY --from=model /models /models
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
USER 10001:10001
EXPOSE 8500 8501
# Not the image's own script: it is a shell in front of the server, and its flags name another model.
ENTRYPOINT ["tensorflow_model_server"]
CMD ["--port=8500", \
     "--rest_api_port=8501", \
     "--model_config_file=/models/models.config", \
     "--enable_batching=true", \
     "--batching_parameters_file=/models/batching.config", \
     "--monitoring_config_file=/models/monitoring.config", \
     "--file_system_poll_wait_seconds=0", \
     "--enable_grpc_healthcheck_service=true", \
     "--enable_profiler=false", \
     "--grpc_channel_arguments=grpc.max_connection_age_ms=60000,grpc.max_connection_age_grace_ms=35000"]

FROM tensorflow/serving:2.21.0-gpu AS gpu
COPY --from=model /models /models
# CUDA keeps what it compiles for a GPU newer than itself; a home directory there is not.
ENV CUDA_CACHE_PATH=/tmp/cuda
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
USER 10001:10001
EXPOSE 8500 8501
ENTRYPOINT ["tensorflow_model_server"]
CMD ["--port=8500", \
     "--rest_api_port=8501", \
     "--model_config_file=/models/models.config", \
     "--enable_batching=true", \
     "--batching_parameters_file=/models/batching.config", \
     "--monitoring_config_file=/models/monitoring.config", \
     "--file_system_poll_wait_seconds=0", \
     "--enable_grpc_healthcheck_service=true", \
     "--enable_profiler=false", \
     "--per_process_gpu_memory_fraction=0.9", \
     "--grpc_channel_arguments=grpc.max_connection_age_ms=60000,grpc.max_connection_age_grace_ms=35000"]
