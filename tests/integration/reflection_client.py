"""A gRPC client that knows no service beforehand: it asks the server what it offers (gRPC server reflection,
v1alpha) and builds every message from the descriptors that it gets, as grpcurl does.

    reflection_client.py HOST:PORT list
    reflection_client.py HOST:PORT describe SERVICE
    reflection_client.py HOST:PORT call SERVICE/METHOD [JSON] [--header NAME=VALUE]...

Needs Debian's python3-grpcio, python3-protobuf, grpc-proto and protobuf-compiler.
"""

import argparse
import functools
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import threading

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

_PROTOS = "/usr/share/grpc-proto"
_REFLECTION = "grpc/reflection/v1alpha/reflection.proto"


@functools.lru_cache(maxsize=None)
def _load_reflection():
    """Compiles the public contract of reflection itself; that one is the client's own knowledge."""
    out = tempfile.TemporaryDirectory()
    subprocess.run(["protoc", "-I", _PROTOS, "--python_out", out.name, _REFLECTION], check=True)
    # `grpc` is a package already, so the generated module is loaded by its file.
    spec = importlib.util.spec_from_file_location(
        "reflection_pb2", pathlib.Path(out.name, _REFLECTION.replace(".proto", "_pb2.py")))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out.cleanup()
    return module


class ReflectionClient:
    def __init__(self, address, headers=(), timeout=10.0, own_connection=False):
        # Without the option all channels to one address share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)] if own_connection else []
        self._channel = grpc.insecure_channel(address, options)
        self._headers = tuple(headers)
        self._timeout = timeout
        self._pb = _load_reflection()
        self._pool = descriptor_pool.DescriptorPool()
        self._known_files = set()

    def close(self):
        self._channel.close()

    def _stream(self, requests, **options):
        stub = self._channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=self._pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=self._pb.ServerReflectionResponse.FromString)
        return stub(requests, **options)

    def open_stream(self):
        """A stream on which one question was answered and no other ever comes; returns what ends it."""
        over = threading.Event()

        def requests():
            yield self._pb.ServerReflectionRequest(list_services="")
            over.wait()

        call = self._stream(requests())
        next(call)

        def end():
            over.set()
            call.cancel()

        return end

    def _ask(self, **request):
        answers = self._stream(iter([self._pb.ServerReflectionRequest(**request)]), timeout=self._timeout)
        answer = next(iter(answers))
        if answer.HasField("error_response"):
            raise LookupError(answer.error_response.error_message)
        return answer

    def services(self):
        return sorted(s.name for s in self._ask(list_services="").list_services_response.service)

    def _add_files(self, answer):
        files = [descriptor_pb2.FileDescriptorProto.FromString(raw)
                 for raw in answer.file_descriptor_response.file_descriptor_proto]
        by_name = {f.name: f for f in files}

        def add(file):
            if file.name in self._known_files:
                return
            for needed in file.dependency:
                if needed in by_name:
                    add(by_name[needed])
                elif needed not in self._known_files:
                    self._add_files(self._ask(file_by_filename=needed))
            self._pool.Add(file)
            self._known_files.add(file.name)

        for file in files:
            add(file)

    def service(self, name):
        self._add_files(self._ask(file_containing_symbol=name))
        return self._pool.FindServiceByName(name)

    def method(self, service, name):
        """A function from a request to an answer, both as JSON gives them; a streaming method answers an iterator."""
        described = self.service(service).methods_by_name[name]
        factory = message_factory.MessageFactory(self._pool)
        request_type = factory.GetPrototype(described.input_type)
        answer_type = factory.GetPrototype(described.output_type)
        kind = self._channel.unary_stream if described.server_streaming else self._channel.unary_unary
        stub = kind(f"/{service}/{name}", request_serializer=request_type.SerializeToString,
                    response_deserializer=answer_type.FromString)

        def to_dict(answer):
            return json_format.MessageToDict(answer, preserving_proto_field_name=True)

        def function(request=None):
            message = json_format.ParseDict(request or {}, request_type())
            if described.server_streaming:
                return map(to_dict, stub(message, metadata=self._headers))
            return to_dict(stub(message, timeout=self._timeout, metadata=self._headers))

        return function

    def call(self, service, method, request=None):
        return self.method(service, method)(request)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("verb", choices=["list", "describe", "call"])
    parser.add_argument("what", nargs="?", default="")
    parser.add_argument("request", nargs="?", default="{}")
    parser.add_argument("--header", action="append", default=[])
    args = parser.parse_args()
    client = ReflectionClient(args.address, [tuple(h.split("=", 1)) for h in args.header])
    try:
        if args.verb == "list":
            print("\n".join(client.services()))
        elif args.verb == "describe":
            for method in client.service(args.what).methods:
                print(method.name, method.input_type.full_name, method.output_type.full_name)
        else:
            service, method = args.what.rsplit("/", 1)
            print(json.dumps(client.call(service, method, json.loads(args.request)), indent=2))
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
    finally:
        client.close()


if __name__ == "__main__":
    main()
