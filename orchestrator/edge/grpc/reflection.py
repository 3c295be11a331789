"""grpc.reflection.v1 and v1alpha: whoever asks is told what this server has, and its protos.

The package knows v1alpha alone; v1 is the same messages under another name (grpc/grpc-proto, 2023).
"""

from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

_ALPHA: Final = "grpc.reflection.v1alpha"
_STABLE: Final = "grpc.reflection.v1"
_SERVICES: Final = (f"{_STABLE}.ServerReflection", reflection.SERVICE_NAME)


def enable_reflection(services: Sequence[str], server: Any) -> None:
    """Answer questions for the protos of ``services``, of which these two are."""
    pool = descriptor_pool.Default()
    stable = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(stable)
    _rename(stable)
    pool.Add(stable)
    servicer = reflection.aio.ReflectionServicer((*services, *_SERVICES), pool=pool)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(_SERVICES[0], {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handler,))


def _rename(file: FileDescriptorProto) -> None:
    """Make the package of v1alpha that of v1."""
    file.name = file.name.replace("v1alpha", "v1")
    file.package = _STABLE
    file.ClearField("options")
    for message in file.message_type:
        for field in (field for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(f".{_ALPHA}.", f".{_STABLE}.")
    for method in (method for service in file.service for method in service.method):
        method.input_type = method.input_type.replace(f".{_ALPHA}.", f".{_STABLE}.")
        method.output_type = method.output_type.replace(f".{_ALPHA}.", f".{_STABLE}.")
