"""The service endpoint: IoT Hub's REST for twins, direct methods and device identities, over HTTPS with SAS tokens.

What ``azure.iot.hub.IoTHubRegistryManager`` calls, and no more: GET/PUT/DELETE /devices/{id}, GET /devices,
GET/PATCH/PUT /twins/{id}, POST /twins/{id}/methods. A request is judged in this order: its token, what the token's
policy may do, whether the path exists, what the body says. Errors have IoT Hub's shape, status and code.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from device.hub.http import HttpRequest, HttpResponse
from device.hub.registry import Device, RegistryError, UnknownDevice
from device.hub.rest_models import device_json, method_call, thumbprints, twin_json, twin_sections
from device.hub.sas import Unauthorized, prove, rest_key
from device.hub.settings import HubSettings, Right
from device.hub.switchboard import DeviceOffline, NoAnswer, Switchboard, TooManyRequests
from device.hub.twins import BadPatch, Json, parse_object

logger = logging.getLogger("everbeat.hub.rest")

_MAX_DEVICES = 1000
_OFFLINE = (
    "The operation failed because the requested device isn't online or hasn't registered the direct method callback."
)
Action = Callable[[HttpRequest, str], Awaitable[HttpResponse]]


class _Failure(Exception):
    """An answer other than the one wanted. `name` and `code` are IoT Hub's."""

    def __init__(self, status: int, name: str, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.status, self.name, self.code = status, name, code or status * 1000 + 1


class RestEndpoint:
    """Answers requests. `clock` gives Unix s."""

    def __init__(self, settings: HubSettings, board: Switchboard, clock: Callable[[], float]) -> None:
        self._settings, self._board, self._clock = settings, board, clock
        self._keys = tuple((policy, rest_key(policy)) for policy in settings.policies)
        self._actions: dict[tuple[str, str], tuple[Right, Action]] = {
            ("GET", "devices"): (Right.REGISTRY_READ, self._list),
            ("GET", "devices/id"): (Right.REGISTRY_READ, self._get_device),
            ("PUT", "devices/id"): (Right.REGISTRY_WRITE, self._put_device),
            ("DELETE", "devices/id"): (Right.REGISTRY_WRITE, self._delete_device),
            ("GET", "twins/id"): (Right.SERVICE, self._get_twin),
            ("PATCH", "twins/id"): (Right.SERVICE, self._patch_twin),
            ("PUT", "twins/id"): (Right.SERVICE, self._replace_twin),
            ("POST", "twins/id/methods"): (Right.SERVICE, self._invoke),
        }

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """The response, whatever happens; what the caller may not know stays in the log."""
        try:
            return await self._act(request)
        except _Failure as failure:
            return self._failed(failure)
        except Unauthorized as error:
            logger.warning("%s %s: %s", request.method, request.path, error)
            return self._failed(_Failure(401, "IotHubUnauthorizedAccess", "Unauthorized", 401003))
        except UnknownDevice as error:
            return self._failed(_Failure(404, "DeviceNotFound", str(error)))
        except DeviceOffline:
            return self._failed(_Failure(404, "DeviceNotOnline", _OFFLINE, 404103))
        except NoAnswer as error:
            return self._failed(_Failure(504, "GatewayTimeout", str(error), 504101))
        except TooManyRequests as error:
            return self._failed(_Failure(429, "ThrottlingException", str(error)))
        except (BadPatch, RegistryError) as error:
            return self._failed(_Failure(400, "ArgumentInvalid", str(error), 400004))

    async def _act(self, request: HttpRequest) -> HttpResponse:
        token = request.headers.get("authorization", "")
        grant = prove(token, self._keys, self._settings.names, self._clock())
        parts = request.parts
        shape = "/".join((*parts[:1], *("id" for _ in parts[1:2]), *parts[2:]))
        right, action = self._actions.get((request.method, shape), (None, None))
        if right is None or action is None:
            raise _Failure(404, "NotFound", f"expected a known request, got {request.method} of {request.path[:120]!r}")
        if not grant.covers("/" + "/".join(parts), right, self._clock()):
            raise Unauthorized(f"expected the right {right.name}, got a token without it; access was refused")
        return await action(request, parts[1] if len(parts) > 1 else "")

    def _failed(self, failure: _Failure) -> HttpResponse:
        now = datetime.fromtimestamp(self._clock(), UTC)
        tracking = f"{uuid.uuid4().hex}-TimeStamp:{now:%m/%d/%Y %H:%M:%S}"
        detail = {"errorCode": failure.code, "trackingId": tracking, "message": str(failure),
                  "timestampUtc": now.isoformat()}  # fmt: skip
        body = {
            "Message": f"ErrorCode:{failure.name};{json.dumps(detail)}",
            "ExceptionMessage": f"Tracking ID:{tracking}",
        }
        return HttpResponse(failure.status, body, {"iothub-errorcode": failure.name})

    # ---------------------------------------------------------------------------------------- devices

    async def _list(self, request: HttpRequest, _: str) -> HttpResponse:
        top = request.query.get("top", "")
        limit = min(int(top), _MAX_DEVICES) if top.isdecimal() and len(top) < 10 else _MAX_DEVICES
        return HttpResponse(200, [self._device_json(d) for d in self._board.registry.devices(limit)])

    async def _get_device(self, _: HttpRequest, device_id: str) -> HttpResponse:
        return self._device(self._board.registry.device(device_id))

    async def _put_device(self, request: HttpRequest, device_id: str) -> HttpResponse:
        """Create without If-Match, change with one."""
        registry, wanted = self._board.registry, parse_object(request.body)
        if wanted.get("deviceId") != device_id:
            raise BadPatch(f"expected deviceId {device_id!r} in the body, got another; no device was made")
        primary, secondary = thumbprints(wanted)
        if "if-match" in request.headers:
            _match(request, str(registry.device(device_id).revision))
        elif any(known.id == device_id for known in _found(registry.device, device_id)):
            raise _Failure(409, "DeviceAlreadyExists", f"expected a new device, got {device_id!r}; it is unchanged")
        device = registry.enrol(device_id, primary, secondary, enabled=wanted.get("status", "enabled") == "enabled")
        self._board.drop(device_id, "its identity has changed")
        return self._device(device)

    async def _delete_device(self, request: HttpRequest, device_id: str) -> HttpResponse:
        _match(request, str(self._board.registry.device(device_id).revision))
        self._board.registry.remove(device_id)
        self._board.drop(device_id, "it was removed")
        return HttpResponse(204)

    def _device(self, device: Device) -> HttpResponse:
        return HttpResponse(200, self._device_json(device), {"ETag": f'"{device.revision}"'})

    def _device_json(self, device: Device) -> Json:
        return device_json(device, self._board.connected(device.id))

    # ------------------------------------------------------------------------------------------ twins

    async def _get_twin(self, _: HttpRequest, device_id: str) -> HttpResponse:
        return self._twin(device_id)

    async def _patch_twin(self, request: HttpRequest, device_id: str) -> HttpResponse:
        _match(request, str(self._board.registry.twin(device_id).version))
        self._board.patch_twin(device_id, *twin_sections(parse_object(request.body)))
        return self._twin(device_id)

    async def _replace_twin(self, request: HttpRequest, device_id: str) -> HttpResponse:
        _match(request, str(self._board.registry.twin(device_id).version))
        self._board.replace_twin(device_id, *twin_sections(parse_object(request.body)))
        return self._twin(device_id)

    def _twin(self, device_id: str) -> HttpResponse:
        device, twin = self._board.registry.device(device_id), self._board.registry.twin(device_id)
        body = twin_json(device, twin, self._board.connected(device_id))
        return HttpResponse(200, body, {"ETag": f'"{twin.version}"'})

    async def _invoke(self, request: HttpRequest, device_id: str) -> HttpResponse:
        call = method_call(parse_object(request.body))
        result = await self._board.invoke(
            device_id, call.name, call.payload, answer_s=call.answer_s, wait_s=call.wait_s
        )
        return HttpResponse(200, {"status": result.status, "payload": result.payload})


def _found(look_up: Callable[[str], Device], device_id: str) -> list[Device]:
    try:
        return [look_up(device_id)]
    except UnknownDevice:
        return []


def _match(request: HttpRequest, etag: str) -> None:
    """Raises _Failure where If-Match names another version (RFC 9110, section 13.1.1)."""
    wanted = request.headers.get("if-match", "*").strip().removeprefix("W/").strip('"')
    if wanted not in ("*", etag):
        raise _Failure(412, "PreconditionFailed", f"expected version {etag}, got {wanted[:40]!r}; nothing was changed")
