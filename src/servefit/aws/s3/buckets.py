"""S3's operations on buckets: their list, and the list of their objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from servefit.aws.s3 import documents, listing
from servefit.aws.s3.objects import time_of_folder
from servefit.aws.s3.places import OWN_FOLDER
from servefit.aws.s3.queries import number
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpAnswer

if TYPE_CHECKING:
    from servefit.aws.s3.objects import Facts, Objects
    from servefit.aws.s3.places import Places

LISTING_QUERY = frozenset(
    {
        "list-type", "prefix", "delimiter", "start-after", "marker", "continuation-token", "max-keys", "encoding-type",
        "fetch-owner",
    }
)  # fmt: skip
"""Members of the query of a listing."""

_SETTINGS = {"location": "LocationConstraint", "versioning": "VersioningConfiguration"}
"""The elements of the settings that are answered, by their names in a query."""


class Buckets:
    """The buckets of ``places``. Each method raises ApiError for what cannot be done."""

    def __init__(self, places: Places, objects: Objects) -> None:
        self._places = places
        self._objects = objects

    def listed(self) -> HttpAnswer:
        folders = sorted(
            folder for folder in self._places.root.iterdir() if folder.is_dir() and folder.name != OWN_FOLDER
        )
        buckets = "".join(
            "<Bucket>"
            + documents.element("Name", folder.name)
            + documents.element("CreationDate", documents.time_of(time_of_folder(folder)))
            + "</Bucket>"
            for folder in folders
        )
        owner = "<Owner><ID>servefit</ID><DisplayName>servefit</DisplayName></Owner>"
        return documents.document("ListAllMyBucketsResult", f"{owner}<Buckets>{buckets}</Buckets>")

    def create(self, bucket: str) -> HttpAnswer:
        folder = self._places.bucket_to_be(bucket)
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise ApiError("InvalidBucketName", f"{bucket} is a file in the folder of the buckets") from error
        return HttpAnswer(headers={"location": f"/{bucket}"})

    def head(self, bucket: str) -> HttpAnswer:
        self._places.bucket(bucket)
        return HttpAnswer()

    def settings(self, bucket: str, name: str) -> HttpAnswer:
        """Return the location of a bucket, or whether it keeps versions: neither was ever set."""
        self._places.bucket(bucket)
        return documents.document(_SETTINGS[name], "")

    def delete(self, bucket: str) -> HttpAnswer:
        self._objects.remove_bucket(bucket)
        return HttpAnswer(status=204)

    def page(self, bucket: str, query: Mapping[str, str]) -> HttpAnswer:
        second = query.get("list-type") == "2"
        token = query.get("continuation-token")
        after = listing.after_token(token) if token else query.get("start-after" if second else "marker", "")
        most = number("max-keys", query.get("max-keys", str(listing.MAX_KEYS)))
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        page = listing.page(self._places, bucket, prefix=prefix, delimiter=delimiter, after=after, most=most)
        objects = [(key, fact) for key in page.keys if (fact := self._facts_or_none(bucket, key)) is not None]
        url_encoded = query.get("encoding-type") == "url"
        shown = documents.url_encoded if url_encoded else str
        about: list[tuple[str, object]] = [("Name", bucket), ("Prefix", shown(prefix)), ("MaxKeys", most)]
        about.append(("IsTruncated", "true" if page.after is not None else "false"))
        if delimiter:
            about.append(("Delimiter", shown(delimiter)))
        if url_encoded:
            about.append(("EncodingType", "url"))
        if second:
            about.append(("KeyCount", len(objects) + len(page.prefixes)))
            if page.after is not None:
                about.append(("NextContinuationToken", listing.token_of(page.after)))
        elif page.after is not None:
            about.append(("NextMarker", shown(page.after)))
        return documents.listing_document(page, objects, about=about, is_url_encoded=url_encoded)

    def _facts_or_none(self, bucket: str, key: str) -> Facts | None:
        """Return the facts of an object of a listing, None where it has gone meanwhile or its name is none here."""
        try:
            return self._objects.facts(self._places.file(bucket, key))
        except ApiError:
            return None

    def delete_objects(self, bucket: str, body: bytes) -> HttpAnswer:
        self._places.bucket(bucket)
        results, quiet = [], documents.is_quiet(body)
        for key in documents.keys_to_delete(body):
            try:
                self._objects.remove(bucket, self._places.file(bucket, key))
            except ApiError as error:
                facts = (("Key", key), ("Code", error.code), ("Message", error.message))
                results.append(f"<Error>{''.join(documents.element(*fact) for fact in facts)}</Error>")
            else:
                if not quiet:
                    results.append(f"<Deleted>{documents.element('Key', key)}</Deleted>")
        return documents.document("DeleteResult", "".join(results))
