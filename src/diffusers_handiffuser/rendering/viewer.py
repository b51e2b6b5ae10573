"""An interactive view of the hands' meshes: one HTML page that holds the mesh (glTF) and a small WebGL viewer.

The page fetches nothing, so it works offline, in a notebook and as a file.
"""

import base64
import html
import os
from pathlib import Path

from ..hands.body_model import HandBodyModel, procedural_body
from ..hands.params import HandParams
from ..utils.atomic_files import atomic_write
from .mesh_export import glb_bytes, visible_meshes


def hands_glb(hand_params: HandParams, body_model: HandBodyModel | None = None) -> bytes:
    """See `HandParams.to_glb`. The scene is empty where no hand is visible."""
    return glb_bytes(*visible_meshes(hand_params, procedural_body() if body_model is None else body_model))


class HandView:
    """A mesh to turn with the mouse. As the last expression of a notebook cell it is displayed.

    Args:
        glb (`bytes`): binary glTF, such as `HandParams.to_glb` makes.
        height (`int`): of the view in a notebook, pixels.

    Examples:
        ```py
        >>> from diffusers_handiffuser import MINI, HanDiffuserPipeline, HandView

        >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
        >>> hands = pipe.sample_hand_params("a right hand making a peace sign")
        >>> hands[0].view_3d().save("hands.html")
        >>> view = HandView(hands[0].to_glb("hands.glb"), height=600)
        ```
    """

    def __init__(self, glb: bytes, height: int = 400):
        self.glb = glb
        self.height = height

    @property
    def html(self) -> str:
        """The whole page."""
        return _PAGE.replace("@GLB@", base64.b64encode(self.glb).decode())

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the page to a file that any browser opens."""
        path = Path(path)
        with atomic_write(path) as aside:
            aside.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="{self.height}" style="border:0"></iframe>'


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Hands</title>
<style>
html, body { margin: 0; height: 100%; background: #f0f0f2; font: 13px sans-serif; color: #555; }
canvas { display: block; width: 100%; height: 100%; cursor: grab; touch-action: none; }
div { position: absolute; left: 8px; bottom: 8px; }
</style>
</head>
<body>
<canvas></canvas>
<div><span></span> <a download="hands.glb">hands.glb</a></div>
<script>
"use strict";
const GLB = "@GLB@";

function readMeshes(bytes) {
  const view = new DataView(bytes.buffer);
  const jsonLength = view.getUint32(12, true);
  const gltf = JSON.parse(new TextDecoder().decode(bytes.subarray(20, 20 + jsonLength)));
  const read = (index, Type, size) => {
    const accessor = gltf.accessors[index];
    const offset = 28 + jsonLength + gltf.bufferViews[accessor.bufferView].byteOffset;
    return new Type(bytes.buffer, offset, accessor.count * size);
  };
  return (gltf.meshes || []).map(({primitives: [part]}) => ({
    positions: read(part.attributes.POSITION, Float32Array, 3),
    indices: read(part.indices, Uint32Array, 1),
    color: gltf.materials[part.material].pbrMetallicRoughness.baseColorFactor,
  }));
}

function vertexNormals({positions: p, indices}) {
  const normals = new Float32Array(p.length);
  for (let f = 0; f < indices.length; f += 3) {
    const [a, b, c] = [3 * indices[f], 3 * indices[f + 1], 3 * indices[f + 2]];
    const u = [0, 1, 2].map(k => p[b + k] - p[a + k]);
    const v = [0, 1, 2].map(k => p[c + k] - p[a + k]);
    for (const corner of [a, b, c])
      for (let k = 0; k < 3; k++)
        normals[corner + k] += u[(k + 1) % 3] * v[(k + 2) % 3] - u[(k + 2) % 3] * v[(k + 1) % 3];
  }
  return normals;
}

// Nine numbers for every corner of every triangle: place (about the middle, within one), normal, colour.
function corners(meshes) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (const {positions} of meshes)
    positions.forEach((x, i) => { low[i % 3] = Math.min(low[i % 3], x); high[i % 3] = Math.max(high[i % 3], x); });
  const scale = 2 / Math.hypot(...high.map((x, k) => x - low[k]));
  const numbers = [];
  for (const mesh of meshes) {
    const normals = vertexNormals(mesh);
    for (const vertex of mesh.indices) {
      for (let k = 0; k < 3; k++) numbers.push((mesh.positions[3 * vertex + k] - (low[k] + high[k]) / 2) * scale);
      for (let k = 0; k < 3; k++) numbers.push(normals[3 * vertex + k]);
      for (let k = 0; k < 3; k++) numbers.push(mesh.color[k]);
    }
  }
  return new Float32Array(numbers);
}

const VERTEX_SHADER = `
attribute vec3 place, normal, color;
uniform mat3 turn;
uniform vec2 zoom;
varying vec3 facing, paint;
void main() {
  vec3 p = turn * place;
  gl_Position = vec4(p.xy * zoom, -0.9 * p.z, 1.0);
  facing = turn * normal;
  paint = color;
}`;
const FRAGMENT_SHADER = `
precision mediump float;
varying vec3 facing, paint;
void main() {
  vec3 n = normalize(gl_FrontFacing ? facing : -facing);
  gl_FragColor = vec4(paint * (0.35 + 0.65 * max(dot(n, normalize(vec3(-0.35, 0.6, 1.0))), 0.0)), 1.0);
}`;

function start(bytes) {
  const canvas = document.querySelector("canvas"), label = document.querySelector("span");
  const numbers = corners(readMeshes(bytes));
  const gl = canvas.getContext("webgl");
  if (!gl || !numbers.length) { label.textContent = gl ? "no visible hand" : "this browser has no WebGL"; return; }
  label.textContent = "drag to turn, scroll to zoom, double-click to reset";
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, numbers, gl.STATIC_DRAW);
  ["place", "normal", "color"].forEach((name, i) => {
    const slot = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(slot);
    gl.vertexAttribPointer(slot, 3, gl.FLOAT, false, 36, 12 * i);
  });
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(0.94, 0.94, 0.95, 1);

  let yaw = 0, pitch = 0, zoom = 0.95;
  function draw() {
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.clientHeight * devicePixelRatio;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const [c, s, d, t] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const turn = [c, t * s, -d * s, 0, d, t, s, -t * c, d * c];  // about y, then about x; column by column
    gl.uniformMatrix3fv(gl.getUniformLocation(program, "turn"), false, turn);
    const side = zoom * Math.min(canvas.width, canvas.height);
    gl.uniform2f(gl.getUniformLocation(program, "zoom"), side / canvas.width, side / canvas.height);
    gl.drawArrays(gl.TRIANGLES, 0, numbers.length / 9);
  }
  canvas.onpointerdown = event => canvas.setPointerCapture(event.pointerId);
  canvas.onpointermove = event => {
    if (!event.buttons) return;
    yaw += event.movementX / 100;
    pitch = Math.max(-1.6, Math.min(1.6, pitch + event.movementY / 100));
    draw();
  };
  canvas.onwheel = event => { event.preventDefault(); zoom *= Math.exp(-event.deltaY / 1000); draw(); };
  canvas.ondblclick = () => { [yaw, pitch, zoom] = [0, 0, 0.95]; draw(); };
  new ResizeObserver(draw).observe(canvas);
  draw();
}

document.querySelector("a").href = "data:model/gltf-binary;base64," + GLB;
start(Uint8Array.from(atob(GLB), letter => letter.charCodeAt(0)));
</script>
</body>
</html>
"""
