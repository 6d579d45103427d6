"""Values in one safetensors file: arrays as tensors, everything else as JSON.

Reading such a file runs no code that is stored in it. A file is written beside its
name and moved there when it is complete, so that none is ever seen half written.
"""

import hashlib
import json
import os
import secrets
from contextlib import suppress

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ._validation import naming

# Raise it when older releases could no longer read what is written.
FORMAT_VERSION = 1
_NUMERIC = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}


def write(path, value, *, kind):
    """Write a value to a file, which appears complete or not at all.

    Parameters
    ----------
    path : str or path-like
    value : object
        None, bool, int, float, str, NumPy arrays and scalars of numbers, dates or
        str, object arrays of the former, `numpy.random.RandomState`, and lists,
        tuples and dicts of all these, nested at will.
    kind : str
        What `read` must ask for.

    Raises
    ------
    TypeError
        If there is something else in it.
    """
    with naming("path"):
        path = os.fsdecode(path)
    arrays = {}
    content = json.dumps(encode(value, arrays, "value"))
    metadata = {
        "kind": kind,
        "version": str(FORMAT_VERSION),
        "content": content,
        "digest": digest(content, arrays),
    }
    with naming("path"):
        _write_whole(path, save(arrays, metadata))


def read(path, *, kind):
    """Read a value that `write` wrote.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be opened.
    ValueError
        If it is of another kind, damaged, or of a newer format.
    """
    with naming("path"):
        path = os.fsdecode(path)
        open(path, "rb").close()  # what is missing or a folder says so itself
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            if header.get("kind") != kind:
                raise ValueError(
                    f"{path!r} holds {header.get('kind', 'something else')!r}, "
                    f"expected {kind!r}."
                )
            if header.get("version") not in map(str, range(1, FORMAT_VERSION + 1)):
                raise ValueError(
                    f"{path!r} is of format {header.get('version')}, and this version "
                    f"of sktasgen reads formats up to {FORMAT_VERSION}: upgrade it."
                )
            try:
                return _content(header, file)
            except Exception as error:  # a file may be wrong in any way
                raise ValueError(
                    f"{path!r} is damaged, not what was once written: {error!r}."
                ) from error
    except SafetensorError as error:
        raise ValueError(
            f"{path!r} is no safetensors file, or a truncated one: {error}"
        ) from error


def _content(header, file):
    # Copies, which outlive the file and may be written to.
    arrays = {name: file.get_tensor(name).copy() for name in file.keys()}
    content = header["content"]
    if digest(content, arrays) != header["digest"]:
        raise ValueError("it has another digest")
    return decode(json.loads(content), arrays)


def digest(content, arrays):
    """Hash of what `encode` gave: the same for the same value, and no other."""
    found = hashlib.blake2b(content.encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape};".encode())
        found.update(array)
    return found.hexdigest()


def encode(value, arrays, name):
    """Turn a value into what JSON holds, and put its arrays of numbers aside.

    Parameters
    ----------
    value : object
        See `write`.
    arrays : dict
        Gets the arrays by name.
    name : str
        Where the value belongs, for the names of arrays and for errors.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray):
        return _encode_array(value, arrays, name)
    if isinstance(value, np.generic):
        return {"scalar": _encode_array(np.asarray(value), arrays, name)}
    if isinstance(value, np.random.RandomState):
        state = value.get_state(legacy=False)
        if state["bit_generator"] == "MT19937":
            return {"random_state": encode(state, arrays, name)}
    if type(value) is dict:
        return {
            "dict": [
                [encode(key, arrays, name), encode(item, arrays, f"{name}.{key}")]
                for key, item in value.items()
            ]
        }
    if type(value) in (list, tuple):
        items = [encode(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]
        return {type(value).__name__: items}
    raise TypeError(f"{name} is {value!r}, which cannot be saved.")


def decode(node, arrays):
    """Build the value again, the inverse of `encode`."""
    if not isinstance(node, dict):
        return node
    ((form, content), *details) = node.items()
    if form == "dict":
        return {decode(key, arrays): decode(item, arrays) for key, item in content}
    if form == "list":
        return [decode(item, arrays) for item in content]
    if form == "tuple":
        return tuple(decode(item, arrays) for item in content)
    if form == "scalar":
        return decode(content, arrays)[()]
    if form == "random_state":
        state = np.random.RandomState()
        state.set_state(decode(content, arrays))
        return state
    details = dict(details)
    if form == "tensor":
        array = arrays[content]
        return array.view(details["dtype"]) if "dtype" in details else array
    flat = np.empty(len(content), dtype=details["dtype"])
    flat[:] = [decode(item, arrays) for item in content]
    return flat.reshape(details["shape"])


def _encode_array(array, arrays, name):
    native = array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")
    array = np.array(array, dtype=native, order="C")
    while name in arrays:  # keys may read alike, as 1 and "1" do
        name = f"{name}#{len(arrays)}"
    if array.dtype.str[1:] in _NUMERIC:
        arrays[name] = array
        return {"tensor": name}
    if array.dtype.kind in "mM":
        arrays[name] = array.view(np.int64)
        return {"tensor": name, "dtype": array.dtype.str}
    if array.dtype.kind in "UTO":
        # Text has no tensor; nor have objects, which are looked at one by one.
        dtype = "T" if array.dtype.kind == "T" else array.dtype.str
        items = array.ravel().tolist()
        items = [encode(item, arrays, f"{name}.{i}") for i, item in enumerate(items)]
        return {"items": items, "dtype": dtype, "shape": array.shape}
    raise TypeError(f"{name} is an array of {array.dtype}, which cannot be saved.")


def _write_whole(path, data):
    """Write bytes so that a power cut leaves the old file or the new one."""
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    with suppress(OSError):  # some file systems keep no directory open
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
