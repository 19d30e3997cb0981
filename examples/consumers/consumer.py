#!/usr/bin/env python3
"""Reads Taskplane's event stream: each event of each Task, Job, App and Space once, and in order.

Prints one JSON object a line: uid, sequence, subject, fact. Keeps nothing but the last sequence of each uid; a real consumer
stores that with what it made of the event. Ends after --until-idle seconds without news, else never.

    pip install nats-py
    consumer.py --url nats://127.0.0.1:4222 --filter 'taskplane.v1.demo.task.>'
"""
import argparse
import asyncio
import json
import sys

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

GAP = 3


class History:
    """What was seen of each thing: repeats are passed over, gaps are told."""

    def __init__(self):
        self.last = {}

    def takes(self, event):
        uid, sequence = event["uid"], int(event["sequence"])
        last = self.last.get(uid, 0)
        if sequence <= last:
            return False
        if sequence != last + 1:
            # Older than what the stream keeps: EventService.ListEvents has it.
            print(f"gap: {event['subject']} has {last}, then {sequence}", file=sys.stderr)
            sys.exit(GAP)
        self.last[uid] = sequence
        return True


async def consumer(jetstream, args):
    """From the beginning, without a name: a stream that is made anew takes its consumers with it, so nothing is kept there."""
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, filter_subject=args.filter, inactive_threshold=60
    )
    return await jetstream.pull_subscribe(args.filter, durable=None, stream=args.stream, config=config)


async def is_gone(subscription):
    try:
        await subscription.consumer_info()
        return False
    except nats.js.errors.NotFoundError:
        return True


async def read(jetstream, args, history):
    """Returns when the consumer is gone or, if that was asked for, when nothing has come for a while."""
    subscription = await consumer(jetstream, args)
    while True:
        try:
            messages = await subscription.fetch(256, timeout=args.until_idle or 5)
        except nats.errors.TimeoutError:
            if await is_gone(subscription):
                return False
            if args.until_idle:
                return True
            continue
        for message in messages:
            event = json.loads(message.data)["data"]
            if history.takes(event):
                line = {key: event[key] for key in ("uid", "sequence", "subject", "fact")}
                print(json.dumps(line), flush=True)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="nats://127.0.0.1:4222")
    parser.add_argument("--creds", help="a file with a JWT and a seed")
    parser.add_argument("--stream", default="TASKPLANE_EVENTS")
    parser.add_argument("--filter", default="taskplane.v1.>")
    parser.add_argument("--until-idle", type=float, metavar="SECONDS")
    args = parser.parse_args()

    connection = await nats.connect(args.url, user_credentials=args.creds, max_reconnect_attempts=-1)
    jetstream, history, over = connection.jetstream(), History(), False
    while not over:
        try:
            over = await read(jetstream, args, history)
        except (nats.errors.Error, ConnectionError) as error:
            # The server or the stream is away: from the beginning again, which what was seen makes short.
            print(f"trying again: {error}", file=sys.stderr)
            await asyncio.sleep(0.5)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
