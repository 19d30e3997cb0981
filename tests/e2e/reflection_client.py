"""Uses Taskplane as a program does that has never seen its proto files: everything it knows, it asks the server for.

Prints one JSON object: the services, what was made, how the Task went through its states, how it ended, and its log.
"""

import io
import json
import sys
import tarfile

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

DEADLINE = 60
ENDS = {"TASK_STATE_SUCCEEDED", "TASK_STATE_FAILED", "TASK_STATE_CANCELLED"}


class Service:
    """Calls the methods of one service, in whichever of the four ways the server says they have."""

    def __init__(self, channel, pool, name):
        self.channel = channel
        self.descriptor = pool.FindServiceByName(name)

    def __getattr__(self, name):
        method = self.descriptor.methods_by_name[name]
        ways = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, False): self.channel.stream_unary,
            (True, True): self.channel.stream_stream,
        }
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        call = ways[method.client_streaming, method.server_streaming](
            f"/{self.descriptor.full_name}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

        def ask(asked=None, **fields):
            return call(request(**fields) if asked is None else asked(request), timeout=DEADLINE)

        return ask


def archive(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text))
    return packed.getvalue()


def push(request):
    yield request(app={"parent": "spaces/from-python", "app_id": "snake", "source": {"archive": {}}, "env": {"WHO": "python"}})
    packed = archive({"run.sh": b'#!/bin/sh\necho "hello from $WHO"\necho "to stderr" >&2\nexit 3\n'})
    for start in range(0, len(packed), 64):
        yield request(chunk=packed[start : start + 64])


def main(address):
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = sorted(database.get_services())
        pool = DescriptorPool(database)
        spaces, apps, tasks = (
            Service(channel, pool, f"taskplane.v1.{name}Service") for name in ("Space", "App", "Task")
        )
        state = pool.FindEnumTypeByName("taskplane.v1.TaskState").values_by_number

        space = spaces.CreateSpace(space_id="from-python")
        app = apps.PushApp(push)
        task = tasks.RunTask(parent=app.name, command="sleep 0.2; ./run.sh", display_name="slithers")
        seen = []
        for change in tasks.WatchTasks(parent=task.name):
            seen.append(state[change.task.state].name)
            if seen[-1] in ENDS:
                break
        log = [
            line.content.decode() for answer in tasks.StreamLogs(name=task.name, follow=True) for line in answer.lines
        ]
        over = tasks.GetTask(name=task.name)
        try:
            refused = tasks.RunTask(parent=app.name, command=" ")
        except grpc.RpcError as error:
            refused = error.code().name
        summary = {
            "services": services,
            "space": space.name,
            "app": app.name,
            "task": task.name,
            "states": seen,
            "state": state[over.state].name,
            "exit_code": over.exit_code,
            "log": sorted(log),
            "refused": refused,
        }
        print(json.dumps(summary))


main(sys.argv[1])
