"""``python asking.py kserve|mlserver ADDRESS NAME ROWS.npy FOLDER``: what that client makes of an endpoint, as JSON.

Both packages first import servers that are not needed here. So the packages themselves are not run; the modules of
their clients are, as they are.
"""

from __future__ import annotations

import asyncio
import json
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


def without_servers(package: str) -> None:
    """Have modules of ``package`` imported without what it imports first."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    empty = types.ModuleType(package)
    empty.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = empty


async def ask_with_kserve(address: str, name: str, rows: np.ndarray, _: Path) -> dict[str, Any]:
    """Whether the endpoint and the model are up, and all predictions in one request, as JSON and as binary data."""
    from kserve.inference_client import InferenceRESTClient, RESTConfig
    from kserve.protocol.infer_type import InferInput, InferRequest

    url = f"http://{address}"
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        found = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model": await client.is_model_ready(url, name),
            "other": await client.is_model_ready(url, "other"),
        }
        for form, binary in (("json", False), ("binary", True)):
            tensor = InferInput(name="rows", shape=list(rows.shape), datatype="FP32")
            tensor.set_data_from_numpy(rows, binary_data=binary)
            request = InferRequest(model_name=name, infer_inputs=[tensor], request_id="seven")
            answer = await client.infer(url, request, model_name=name)
            [output] = answer.outputs
            found[form] = [answer.id, output.name, output.as_numpy().tolist()]
    return found


async def ask_with_mlserver(address: str, name: str, rows: np.ndarray, folder: Path) -> dict[str, Any]:
    """The predictions of a file with a request for every row, of which it joins three, as ``mlserver infer`` does."""
    from mlserver.batch_processing import process_batch
    from mlserver.codecs import NumpyRequestCodec
    from mlserver.types import InferenceResponse

    requests, answers = folder / "requests.jsonl", folder / "answers.jsonl"
    each = (NumpyRequestCodec.encode_request(rows[place : place + 1]) for place in range(len(rows)))
    requests.write_text("".join(f"{request.model_dump_json()}\n" for request in each))
    found: dict[str, Any] = {}
    for form, binary in (("json", False), ("binary", True)):
        await process_batch(
            model_name=name,
            url=address,
            workers=2,
            retries=1,
            batch_size=3,
            input_data_path=str(requests),
            output_data_path=str(answers),
            binary_data=binary,
            transport="rest",
            request_headers=[],
            timeout=30,
            batch_interval=0,
            batch_jitter=0,
            use_ssl=False,
            insecure=False,
            verbose=False,
            extra_verbose=False,
        )
        read = [InferenceResponse.model_validate_json(line) for line in answers.read_text().splitlines()]
        read.sort(key=lambda answer: answer.parameters.batch_index)
        found[form] = [NumpyRequestCodec.decode_response(answer).tolist() for answer in read]
    return found


if __name__ == "__main__":
    client, address, name, rows, folder = sys.argv[1:]
    without_servers(client)
    ask = {"kserve": ask_with_kserve, "mlserver": ask_with_mlserver}[client]
    print(json.dumps(asyncio.run(ask(address, name, np.load(rows), Path(folder)))))
