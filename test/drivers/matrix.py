"""What the programs in Python share: how they say what came of a check, and what is sent as values (see _matrix.ts)."""
import datetime
import decimal
import json
import os
import uuid


def say(check, value):
    print(json.dumps({"check": check, "value": value}), flush=True)


def cancel_until(done, cancel):
    """Again and again: the first may come before the statement has begun."""
    while not done.wait(0.3):
        cancel()


values = json.loads(os.environ["DRIVER_VALUES"])
row = {
    "small": -7,
    "whole": 2147483647,
    "big": 9007199254740993,
    "num": decimal.Decimal(values["num"]),
    "word": values["word"],
    "bytes": bytes.fromhex(values["bytes"][2:]),
    "at": datetime.datetime(2026, 11, 22, 13, 14, 15, 123456, tzinfo=datetime.timezone.utc),
    "uid": uuid.UUID(values["uid"]),
    "doc": json.loads(values["doc"]),
    "list": [1, None, 3],
    "words": ["a,b", '"q"', None, "ü"],
    "yes": True,
    "nothing": None,
}
