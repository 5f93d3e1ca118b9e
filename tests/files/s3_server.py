"""A small strict store that speaks S3: signatures and checksums are checked, and parts have their least size."""

import hashlib
import hmac
import re
from html import unescape
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BUCKET = "bucket"
ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
REGION = "auto"
LEAST_PART = 5 * 1024 * 1024


class S3Server:
    """One bucket.

    Attributes:
        objects: What is in it.
        uploads: Uploads in parts that are not finished.
        failing: Answer everything with 503.
        requests: How many requests there were, by method.
    """

    def __init__(self):
        self.objects = {}
        self.uploads = {}
        self.failing = False
        self.requests = []

    def app(self):
        methods = ["GET", "PUT", "POST", "DELETE", "HEAD"]
        return Starlette(routes=[Route(f"/{BUCKET}/{{key:path}}", self.answer, methods=methods)])

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.requests.append(request.method)
        if self.failing:
            return _error(503, "SlowDown")
        refusal = _refusal(request, body)
        if refusal is not None:
            return refusal
        key = request.path_params["key"]
        query = request.query_params
        if request.method == "POST":
            return self._begin(key) if "uploads" in query else self._complete(key, query["uploadId"], body)
        if request.method == "PUT" and "partNumber" in query:
            self.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return Response(headers={"etag": _etag(body)})
        if request.method == "PUT":
            self.objects[key] = body
            return Response(headers={"etag": _etag(body)})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return Response(status_code=204)
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        return _content(self.objects[key], request.headers.get("range"))

    def _begin(self, key):
        upload = f"upload-{len(self.uploads)}"
        self.uploads[upload] = {}
        return _xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")

    def _complete(self, key, upload, body):
        parts = self.uploads[upload]
        pattern = r"<ETag>(.*?)</ETag><PartNumber>(\d+)</PartNumber>|<PartNumber>(\d+)</PartNumber><ETag>(.*?)</ETag>"
        found = re.findall(pattern, body.decode())
        named = [(int(before or after), unescape(first or last)) for first, before, after, last in found]
        if [number for number, _ in named] != sorted(parts) or any(tag != _etag(parts[n]) for n, tag in named):
            return _error(400, "InvalidPart")
        if any(len(parts[number]) < LEAST_PART for number, _ in named[:-1]):
            return _error(400, "EntityTooSmall")
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))
        del self.uploads[upload]
        return _xml("<CompleteMultipartUploadResult><ETag>whole</ETag></CompleteMultipartUploadResult>")


def _content(data, asked):
    headers = {"etag": _etag(data), "last-modified": "Sat, 21 Nov 2026 10:00:00 GMT"}
    if asked is None:
        return Response(data, headers=headers)
    first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
    start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
    if start >= len(data):
        return _error(416, "InvalidRange")
    return Response(
        data[start : end + 1], 206, headers={**headers, "content-range": f"bytes {start}-{end}/{len(data)}"}
    )


def _refusal(request, body):
    """Check what AWS calls Signature Version 4."""
    pattern = r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, SignedHeaders=(\S+), Signature=(\w+)"
    found = re.fullmatch(pattern, request.headers.get("authorization", ""))
    if found is None:
        return _error(403, "AccessDenied")
    key_id, day, region, signed, signature = found.groups()
    if (key_id, region) != (ACCESS_KEY, REGION):
        return _error(403, "InvalidAccessKeyId")
    stated = request.headers["x-amz-content-sha256"]
    if stated not in {"UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()}:
        return _error(400, "XAmzContentSHA256Mismatch")
    pairs = [tuple(map(unquote, pair.partition("=")[::2])) for pair in request.url.query.split("&") if pair]
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(pairs))
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed.split(";"))
    canonical = "\n".join([request.method, quote(request.url.path, safe="/-_.~"), query, headers, signed, stated])
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{digest}"
    secret = f"AWS4{SECRET_KEY}".encode()
    for word in (day, region, "s3", "aws4_request", text):
        secret = hmac.digest(secret, word.encode(), "sha256")
    return None if hmac.compare_digest(secret.hex(), signature) else _error(403, "SignatureDoesNotMatch")


def _etag(data):
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _xml(text, status=200):
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{text}', status, media_type="application/xml")


def _error(status, code):
    return _xml(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>", status)
