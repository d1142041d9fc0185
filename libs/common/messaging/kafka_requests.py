"""The requests of a Kafka group member in the versions that carry its name, which aiokafka lacks."""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetCommitResponse_v3
from aiokafka.protocol.group import HeartbeatRequest, HeartbeatResponse_v1
from aiokafka.protocol.types import Array, Int16, Int32, Int64, Schema, String

NO_EPOCH = -1


class _HeartbeatResponse(Response):
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = HeartbeatResponse_v1.SCHEMA


class _Heartbeat(RequestStruct):
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _OffsetCommitResponse(Response):
    API_KEY = 8
    API_VERSION = 7
    SCHEMA = OffsetCommitResponse_v3.SCHEMA


class _OffsetCommit(RequestStruct):
    API_KEY = 8
    API_VERSION = 7
    RESPONSE_TYPE = _OffsetCommitResponse
    SCHEMA = Schema(
        ("consumer_group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", String("utf-8")),
                    ),
                ),
            ),
        ),
    )


class _LeaveGroupResponse(Response):
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(
                ("member_id", String("utf-8")),
                ("group_instance_id", String("utf-8")),
                ("error_code", Int16),
            ),
        ),
    )


class _LeaveGroup(RequestStruct):
    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _LeaveGroupResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class NamedHeartbeat(Request[_Heartbeat]):
    API_KEY = 12

    def __init__(self, request: HeartbeatRequest, member: str) -> None:
        self._fields = (request._group, request._generation_id, request._member_id, member)

    def build(self, request_struct_class: type[_Heartbeat]) -> _Heartbeat:
        return request_struct_class(*self._fields)


class NamedOffsetCommit(Request[_OffsetCommit]):
    API_KEY = 8

    def __init__(self, request: OffsetCommitRequest, member: str) -> None:
        topics = [
            (topic, [(number, offset, NO_EPOCH, metadata) for number, offset, metadata in partitions])
            for topic, partitions in request._topics
        ]
        self._fields = (
            request._consumer_group,
            request._consumer_group_generation_id,
            request._consumer_id,
            member,
            topics,
        )

    def build(self, request_struct_class: type[_OffsetCommit]) -> _OffsetCommit:
        return request_struct_class(*self._fields)


class NamedLeave(Request[_LeaveGroup]):
    API_KEY = 13

    def __init__(self, group: str, member_id: str, member: str) -> None:
        self._fields = (group, [(member_id, member)])

    def build(self, request_struct_class: type[_LeaveGroup]) -> _LeaveGroup:
        return request_struct_class(*self._fields)
