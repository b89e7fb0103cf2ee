"""What each end-to-end request header field means for matching: the only table.

A field is *identity* (in the match key, where its absence is a value too), a
*variant* (selects among the recordings of one key) or *noise* (neither). A
field that the table does not name is a variant if a recorded answer's ``Vary``
names it. ``docs/explanation/matching.md`` shows the table. What requests must
have in common to share one call to the upstream follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from functools import lru_cache

from attrs import frozen

from buffr.message import Headers, Request, end_to_end

__all__ = [
    "TABLE",
    "Fingerprint",
    "HeaderClass",
    "HeaderRow",
    "class_of",
    "fingerprint",
    "is_shareable",
    "is_volatile",
    "row_of",
    "tells_flights_apart",
]

_LONGEST_KNOWN = 64
_MOST_KNOWN = 4096


class HeaderClass(Enum):
    """What a header field means for matching."""

    IDENTITY = "identity"
    """Part of the match key."""
    OPTIONS = "identity of OPTIONS"
    """Part of the match key of a CORS preflight."""
    VARIANT = "variant"
    """Selects among the recordings of one key, whatever their ``Vary`` says."""
    NEGOTIATED = "variant by Vary"
    """Selects among them if the recorded answer's ``Vary`` names it."""
    PRIVATE = "noise, but for flights"
    """Neither, but two requests that differ in it never share a call to the upstream."""
    NOISE = "noise"
    """Neither."""


@frozen
class HeaderRow:
    """A row of the table: lower-case names, or prefixes that end in ``*``.

    Fields that are ``volatile`` usually have a new value in each request.
    """

    header_class: HeaderClass
    names: tuple[str, ...]
    why: str
    volatile: bool = False


def _row(header_class: HeaderClass, names: str, why: str, *, volatile: bool = False) -> HeaderRow:
    return HeaderRow(header_class, tuple(names.split()), why, volatile)


TABLE = (
    _row(
        HeaderClass.IDENTITY,
        "x-amz-target soapaction x-restli-method",
        "the operation, if all operations have the same URL",
    ),
    _row(
        HeaderClass.IDENTITY,
        "x-http-method-override x-http-method x-method-override",
        "the intended method",
    ),
    _row(
        HeaderClass.IDENTITY,
        "depth overwrite destination if timeout lock-token",
        "WebDAV (RFC 4918)",
    ),
    _row(
        HeaderClass.IDENTITY,
        "range content-range if-range if-match if-none-match if-modified-since"
        " if-unmodified-since if-schedule-tag-match x-contentful-version",
        "conditions and ranges (RFC 9110 13.1, 14)",
    ),
    _row(HeaderClass.IDENTITY, "last-event-id", "where an event stream continues"),
    _row(HeaderClass.IDENTITY, "mcp-method mcp-name", "the call of an MCP client"),
    _row(
        HeaderClass.OPTIONS,
        "access-control-request-method access-control-request-headers"
        " access-control-request-private-network access-control-request-local-network",
        "what a CORS preflight requests",
    ),
    _row(
        HeaderClass.IDENTITY,
        "stripe-account stripe-context dropbox-api-select-user dropbox-api-select-admin"
        " dropbox-api-path-root xero-tenant-id x-tenant x-tenant-id tenant-id x-account-id"
        " x-org-id x-organization-id x-workspace-id x-team-id x-scope-orgid x-grafana-org-id"
        " x-vault-namespace x-consul-namespace x-auth-project-id x-hasura-role x-hasura-user-id"
        " accept-profile content-profile x-databricks-org-id wix-site-id wix-account-id",
        "the tenant, account or schema",
    ),
    _row(
        HeaderClass.IDENTITY,
        "dropbox-api-arg x-goog-fieldmask x-dashscope-sse x-dashscope-async x-vault-wrap-ttl"
        " x-copy-from slug content-disposition",
        "arguments of the operation that some APIs pass outside the body",
    ),
    _row(
        HeaderClass.IDENTITY,
        "x-upload-content-type x-upload-content-length x-goog-upload-* upload-offset"
        " upload-length upload-metadata upload-concat upload-defer-length upload-complete",
        "steps of resumable uploads",
    ),
    _row(
        HeaderClass.NOISE,
        "x-amz-date x-amz-content-sha256 x-amz-user-agent x-amz-checksum-* x-amz-sdk-*"
        " x-amz-decoded-content-length x-amz-trailer x-amz-te x-amz-sha256-tree-hash"
        " x-amz-region-set x-amz-cf-id x-amz-id-2 x-amz-request-id x-amzn-trace-id"
        " x-amzn-query-mode x-amzn-requestid amz-sdk-*",
        "signing, checksums and telemetry of AWS SDKs",
    ),
    _row(
        HeaderClass.PRIVATE,
        "x-amz-security-token x-amz-s3session-token x-amz-mfa x-amz-bearer x-amz-sso_bearer_token",
        "credentials of AWS",
    ),
    _row(
        HeaderClass.PRIVATE,
        "idempotency-key x-idempotency-key idempotence-key x-idempotence-key"
        " x-amz-client-token x-amzn-client-token x-client-token client-token x-amz-request-token"
        " paypal-request-id x-goog-gcs-idempotency-token x-square-idempotency-key"
        " repeatability-request-id repeatability-first-sent x-operation-id",
        "idempotency keys: new for each call, the same for its retries",
        volatile=True,
    ),
    _row(
        HeaderClass.IDENTITY,
        "x-amz-* x-amzn-*",
        "all other parameters of AWS operations in headers",
    ),
    _row(
        HeaderClass.NOISE,
        "x-ms-date x-ms-client-request-id x-ms-return-client-request-id x-ms-useragent"
        " x-ms-correlation-request-id x-ms-content-sha256 x-ms-command-name x-ms-parameter-set-name"
        " x-ms-client-session-id x-ms-activity-id"
        " x-ms-cosmos-* x-ms-session-token",
        "signing and telemetry of Azure SDKs",
    ),
    _row(HeaderClass.VARIANT, "x-ms-version", "the version of Azure Storage and Cosmos DB"),
    _row(
        HeaderClass.PRIVATE,
        "x-ms-token-* x-ms-lease-id x-ms-proposed-lease-id x-ms-source-lease-id",
        "credentials of Azure, and leases, which clients generate",
    ),
    _row(HeaderClass.IDENTITY, "x-ms-*", "all other parameters of Azure operations in headers"),
    _row(
        HeaderClass.IDENTITY,
        "x-goog-copy-source x-goog-copy-source-* x-goog-if-* x-goog-meta-* x-goog-acl"
        " x-goog-storage-class x-goog-metadata-directive x-goog-encryption-algorithm"
        " x-goog-interop-list-objects-format x-goog-project-id",
        "parameters of Google Cloud Storage in headers",
    ),
    _row(
        HeaderClass.VARIANT,
        "anthropic-version anthropic-beta openai-beta openai-version stripe-version"
        " notion-version x-github-api-version square-version plaid-version gocardless-version"
        " intercom-version cohere-version linkedin-version x-restli-protocol-version revision"
        " klaviyo-revision mcp-protocol-version x-pinecone-api-version elastic-api-version"
        " x-goog-api-version api-version x-api-version accept-version x-version x-api-revision"
        " odata-version odata-maxversion dataserviceversion maxdataserviceversion"
        " x-experimentalapi",
        "versions and beta flags; lists count as sets",
    ),
    _row(
        HeaderClass.VARIANT,
        "prefer consistencylevel openai-organization openai-project x-goog-user-project"
        " anthropic-workspace-id",
        "the form of the answer, and who is billed for it",
    ),
    _row(
        HeaderClass.NEGOTIATED,
        "accept accept-language origin",
        "content negotiation. `Accept` also counts if the recorded `Content-Type` is not"
        " acceptable to the live request",
    ),
    _row(
        HeaderClass.PRIVATE,
        "authorization proxy-authorization cookie cookie2 dpop signature signature-input"
        " accept-encoding",
        "credentials, which are not part of the key; see [Credentials](#credentials)",
    ),
    _row(
        HeaderClass.NOISE,
        "host connection keep-alive proxy-connection te trailer transfer-encoding upgrade expect"
        " content-length content-type content-encoding content-md5 digest content-digest"
        " repr-digest want-digest want-content-digest want-repr-digest http2-settings"
        " x-buffr-scope x-buffr-flight-timeout",
        "the connection, and the encoding and framing of the body. The media type of"
        " `Content-Type` counts in PATCH, and its `action` in SOAP 1.2",
    ),
    _row(
        HeaderClass.NOISE,
        "user-agent x-user-agent referer from date x-date cache-control pragma via max-forwards"
        " dnt priority early-data upgrade-insecure-requests sec-* service-worker* purpose"
        " x-purpose x-moz http-referer x-title",
        "the client and the page that it displays",
    ),
    _row(
        HeaderClass.NOISE,
        "traceparent tracestate baggage b3 x-b3-* uber-trace-id uberctx-* x-request-id"
        " request-id x-req-id x-correlation-id correlation-id x-transaction-id x-trace-id trace-id"
        " x-span-id x-client-trace-id x-client-request-id x-opaque-id x-cloud-trace-context"
        " x-datadog-* sentry-trace newrelic x-newrelic-* elastic-apm-traceparent"
        " x-ot-span-context ot-tracer-* x-instana-* x-dynatrace x-dynatrace-* x-honeycomb-trace"
        " grpc-trace-bin grpc-tags-bin x-appengine-*",
        "trace and request ids",
        volatile=True,
    ),
    _row(
        HeaderClass.NOISE,
        "x-stainless-* x-stripe-client-user-agent x-stripe-client-telemetry x-goog-api-client"
        " x-goog-request-params x-goog-request-reason x-goog-hash x-goog-date x-client-info"
        " x-client-version x-client-name x-client-data x-sdk-* x-fern-* x-speakeasy-*"
        " x-twilio-client x-algolia-agent x-sendgrid-client x-datadog-parent-id"
        " x-elastic-client-meta x-atlassian-token x-shopify-sdk-*"
        " apollographql-client-* x-apollo-operation-* apollo-require-preflight"
        " helicone-*"
        " copilot-integration-id editor-version editor-plugin-version openai-intent"
        " client-version client-name anthropic-client-* anthropic-dangerous-direct-browser-access",
        "telemetry of SDKs",
    ),
    _row(
        HeaderClass.NOISE,
        "x-retry x-retry-* retry-* x-attempt x-attempt-* x-envoy-* x-request-start x-queue-start"
        " x-timestamp timestamp x-nonce x-request-timestamp x-deadline x-timeout"
        " x-request-timeout x-server-timeout grpc-timeout connect-timeout-ms",
        "retries, deadlines and times",
        volatile=True,
    ),
)
"""The first row that names a field applies; an exact name wins over a prefix."""


_UNLISTED = HeaderRow(HeaderClass.NEGOTIATED, (), "all others")


class _Rows(dict[bytes, HeaderRow]):
    """Remembers the row of each requested name; a few names recur all the time."""

    __slots__ = ("_prefixes",)

    def __init__(self) -> None:
        super().__init__()
        self._prefixes: list[tuple[bytes, HeaderRow]] = []
        for row in TABLE:
            for name in row.names:
                stem, star, _ = name.encode().partition(b"*")
                if star:
                    self._prefixes.append((stem, row))
        self.update(self._listed())

    @staticmethod
    def _listed() -> Iterator[tuple[bytes, HeaderRow]]:
        for row in reversed(TABLE):
            for name in row.names:
                if not name.endswith("*"):
                    yield name.encode(), row

    def __missing__(self, name: bytes) -> HeaderRow:
        for stem, row in self._prefixes:
            if name.startswith(stem):
                return self._kept(name, row)
        return self._kept(name, _UNLISTED)

    def _kept(self, name: bytes, row: HeaderRow) -> HeaderRow:
        if len(name) <= _LONGEST_KNOWN and len(self) < _MOST_KNOWN:
            self[name] = row
        return row


_ROWS = _Rows()
row_of: Callable[[bytes], HeaderRow] = _ROWS.__getitem__
"""The row of a header field, in a call that is none of Python's; the name in lower case."""


def class_of(name: bytes) -> HeaderClass:
    """The class of a header field; ``name`` is in lower case."""
    return _ROWS[name].header_class


def is_volatile(name: bytes) -> bool:
    """Whether this field usually has a new value in each request; the name in any case."""
    return _ROWS[name.lower()].volatile


def tells_flights_apart(name: bytes) -> bool:
    """Whether two requests that differ in this field never share a call; the name in lower case."""
    return class_of(name) is not HeaderClass.NOISE


Fingerprint = tuple[bytes, bytes, Headers, bytes]
"""Method, target, fields and body, byte for byte. Kept in memory only: it contains credentials."""

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_SAYS_NOTHING = frozenset((b"", b"{}"))
_LONGEST_EMPTY = 64
_USERS = frozenset((b"proxy-authorization",))


def fingerprint(request: Request, body: bytes) -> Fingerprint:
    """Equal for requests that differ in nothing but noise.

    ``body`` is the body as received, or what identifies it. Idempotency keys
    count here although they are not part of a match key: two calls with
    different keys are meant to happen twice.
    """
    return request.method, request.target, _counted(request.headers), body


@lru_cache(maxsize=256)
def _counted(headers: Headers) -> Headers:
    """The fields in which requests differ. A client sends many requests with the same ones."""
    fields = [(name.lower(), value) for name, value in end_to_end(headers, keep=_USERS)]
    # If Host is passed on, it may affect the answer.
    counted = [each for each in fields if each[0] == b"host" or tells_flights_apart(each[0])]
    return tuple(sorted(counted, key=_name))


def _name(field: tuple[bytes, bytes]) -> bytes:
    return field[0]


def is_shareable(request: Request, body: bytes) -> bool:
    """Whether equal requests may be one call.

    Not if they are unsafe and have no identifying content: two requests that
    purge a queue are two calls.
    """
    if request.method in _SAFE:
        return True
    plain = b"".join(body.split()) if len(body) <= _LONGEST_EMPTY else body
    return plain not in _SAYS_NOTHING
