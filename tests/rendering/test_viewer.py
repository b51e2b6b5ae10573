"""Hands as glTF, and the page with the mesh to rotate."""

import base64
import json
import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
import torch

from diffusers_handiffuser import HandParams, HandView
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.rendering.mesh_export import glb_bytes
from diffusers_handiffuser.rendering.meshes import visible_meshes


class TestGlb:
    def test_holds_the_visible_hand(self, rows, tmp_path):
        content = rows[0].to_glb(tmp_path / "hands.glb")
        assert (tmp_path / "hands.glb").read_bytes() == content
        magic, version, length = struct.unpack("<4sII", content[:12])
        assert (magic, version, length) == (b"glTF", 2, len(content))
        description = json.loads(content[20 : 20 + struct.unpack("<I", content[12:16])[0]])
        assert [mesh["name"] for mesh in description["meshes"]] == ["right_hand"]
        vertices = procedural_body()(rows[0]).right_vertices * torch.tensor([1.0, -1.0, -1.0])
        assert description["accessors"][0]["count"] > len(vertices), "with a closed wrist"
        assert description["accessors"][0]["min"][0] == pytest.approx(float(vertices[:, 0].min()))

    def test_is_made_of_the_visible_meshes(self, rows):
        body = procedural_body()
        both = rows[0].replace(hand_visible=torch.tensor([True, True]))
        left, right = next(visible_meshes(both, body))
        assert (left.name, right.name) == ("left_hand", "right_hand") and left.color != right.color
        geometry = body(both)
        for mesh, vertices, faces in (
            (left, geometry.left_vertices, body.left_faces),
            (right, geometry.right_vertices, body.right_faces),
        ):
            assert torch.equal(mesh.vertices[: len(vertices)], vertices) and len(mesh.vertices) > len(vertices)
            assert torch.equal(mesh.faces[: len(faces)], faces) and len(mesh.faces) > len(faces)
        assert both.to_glb() == glb_bytes([left, right])
        assert next(visible_meshes(HandParams.zeros(), body)) == []

    def test_one_row_only(self, rows):
        assert rows[:1].to_glb() == rows[0].to_glb()
        with pytest.raises(ValueError, match="`hand_params` must be one row.*got 10"):
            rows.to_glb()


RUN_THE_PAGE = """
const uploads = {};
const gl = new Proxy({}, {get: (_, name) => {
  if (name === "bufferData") return (target, numbers) => { uploads.numbers = Array.from(numbers); };
  if (name === "uniformMatrix3fv") return (place, transpose, numbers) => { uploads.turn = numbers; };
  if (name === "drawArrays") return (mode, first, count) => { uploads.count = count; };
  return () => 0;
}});
const canvas = {clientWidth: 300, clientHeight: 200, getContext: () => gl};
const elements = {canvas, span: {}, a: {}};
globalThis.document = {querySelector: name => elements[name]};
globalThis.devicePixelRatio = 1;
globalThis.ResizeObserver = class { observe() {} };
const fs = require("fs");
new Function(fs.readFileSync(0, "utf8"))();
const first = uploads.turn;
if (canvas.onpointermove) canvas.onpointermove({buttons: 1, movementX: 50, movementY: 20});
console.log(JSON.stringify({...uploads, first, label: elements.span.textContent, href: elements.a.href}));
"""


def run_page(page: str) -> dict:
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL).group(1)
    result = subprocess.run(
        ["node", "-e", RUN_THE_PAGE], input=script, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class TestView:
    def test_page_holds_the_mesh_and_fetches_nothing(self, rows, tmp_path):
        view = rows[0].view_3d()
        assert base64.b64encode(rows[0].to_glb()).decode() in view.html and view.glb == rows[0].to_glb()
        for word in ("http", "src=", "import ", "fetch(", "@import", "url(", "@GLB@"):
            assert word not in view.html
        assert view.save(tmp_path / "hands.html").read_text(encoding="utf-8") == view.html

    def test_notebook_shows_the_page_in_a_frame(self, rows):
        frame = rows[0].view_3d()._repr_html_()
        assert frame.startswith("<iframe srcdoc=") and frame.count('"') == 8
        assert HandView(b"", height=123)._repr_html_().count("123") == 1

    @pytest.mark.skipif(shutil.which("node") is None, reason="runs the script of the page")
    def test_script_draws_the_mesh_of_the_file(self, rows):
        """Under node, with a WebGL that only listens."""
        (mesh,) = next(visible_meshes(rows[0], procedural_body()))
        drawn = run_page(rows[0].view_3d().html)
        faces = mesh.faces
        assert drawn["count"] == 3 * len(faces) and "drag" in drawn["label"]
        numbers = np.array(drawn["numbers"]).reshape(len(faces), 3, 9)
        vertices = mesh.vertices * torch.tensor([1.0, -1.0, -1.0])
        middle = (vertices.amin(0) + vertices.amax(0)) / 2
        scale = 2 / (vertices.amax(0) - vertices.amin(0)).norm()
        expected = ((vertices - middle) * scale)[faces].numpy()
        np.testing.assert_allclose(numbers[:, :, :3], expected, atol=1e-5)
        outward = np.cross(expected[:, 1] - expected[:, 0], expected[:, 2] - expected[:, 0])
        agree = (numbers[:, :, 3:6].mean(1) * outward).sum(-1)
        assert (agree > 0).mean() > 0.98, "vertex normals point outwards"
        assert drawn["href"].startswith("data:model/gltf-binary;base64,")

    @pytest.mark.skipif(shutil.which("node") is None, reason="runs the script of the page")
    def test_dragging_turns_it(self, rows):
        """Half a radian to the right and a fifth down: what faced the viewer moves with the pointer."""
        drawn = run_page(rows[0].view_3d().html)
        first, turned = (np.array(drawn[name]).reshape(3, 3).T for name in ("first", "turn"))
        np.testing.assert_allclose(first, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(
            turned @ [0, 0, 1], [np.sin(0.5), -np.sin(0.2) * np.cos(0.5), np.cos(0.2) * np.cos(0.5)], atol=1e-12
        )

    @pytest.mark.skipif(shutil.which("node") is None, reason="runs the script of the page")
    def test_no_visible_hand_says_so(self):
        assert run_page(HandParams.zeros().view_3d().html)["label"] == "no visible hand"
