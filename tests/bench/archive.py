"""Reads one artifact out of a godiag archive with what everybody has: tar, JSON and zstd.

For the benchmarks and the integration tests, which must not trust godiag's own reader.
"""
import contextlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile


def blob_name(digest):
    return "blobs/" + digest.replace(":", "/")


def manifest(tar):
    index = json.load(tar.extractfile("index.json"))
    return json.load(tar.extractfile(blob_name(index["manifests"][0]["digest"])))


def title(layer):
    return layer.get("annotations", {}).get("org.opencontainers.image.title")


def layers(path):
    """{artifact name: its descriptor} of the archive."""
    with tarfile.open(path) as tar:
        return {title(layer): layer for layer in manifest(tar)["layers"]}


@contextlib.contextmanager
def artifact(path, name):
    """The artifact's content as a binary stream, decompressed."""
    with tarfile.open(path) as tar:
        layer = next((l for l in manifest(tar)["layers"] if title(l) == name), None)
        if layer is None:
            yield io.BytesIO(b"")
            return
        stored = tar.extractfile(blob_name(layer["digest"]))
        if not layer["mediaType"].endswith("+zstd"):
            yield stored
            return
        with tempfile.TemporaryFile() as packed:
            shutil.copyfileobj(stored, packed)
            packed.seek(0)
            with subprocess.Popen(["zstd", "-dcq"], stdin=packed, stdout=subprocess.PIPE) as unpack:
                yield unpack.stdout
                unpack.stdout.read()
