"""Tiny samples of each dataset, byte for byte as published, written without the package's help.

Nothing here may import `endodav`: what a reader and its own writer agree on could both be wrong.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import h5py
import numpy as np
import OpenEXR
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

FRAMES, HEIGHT, WIDTH = 3, 24, 32


@dataclass(frozen=True)
class Truth:
    """What a sample says: RGB, Z-depth in mm, camera to world in mm (x right, y down, z ahead)."""

    images: np.ndarray
    depth: np.ndarray
    T_world_from_camera: np.ndarray
    K: np.ndarray


def make_truth(nearest: float, farthest: float) -> Truth:
    """Slanted walls, a camera that turns and moves, smooth colours that JPEG keeps."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    images = np.stack(
        [np.stack([6 * u + 10 * k, 9 * v, 0 * u + 60 * k], -1) for k in range(FRAMES)]
    ).astype(np.uint8)
    ramp = (u + 2 * v) / (WIDTH + 2 * HEIGHT)
    depth = np.stack([nearest + (farthest - nearest) * ramp / (1 + 0.1 * k) for k in range(FRAMES)])
    depth[:, :2, :3] = 0.0  # unknown
    T = np.tile(np.eye(4), (FRAMES, 1, 1))
    angles = [(5 * k, -3 * k, 20 + 2 * k) for k in range(FRAMES)]
    T[:, :3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    T[:, :3, 3] = nearest * 0.1 * np.arange(FRAMES)[:, None] * [1.0, -0.5, 0.25] + nearest
    K = np.array([[40.0, 0, 15.25], [0, 41.0, 11.75], [0, 0, 1]])
    return Truth(images, depth.astype(np.float32), T, K)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **({"quality": 97} if path.suffix == ".jpg" else {}))


def _codes(path: Path, depth: np.ndarray, codes_per_mm: float) -> None:
    _picture(path, (depth * codes_per_mm + 0.5).astype(np.uint16))


def _rows(rows: np.ndarray, delimiter: str = " ") -> str:
    return "".join(delimiter.join(f"{x:.12g}" for x in row) + "\n" for row in np.atleast_2d(rows))


def _world_to_camera(truth: Truth) -> np.ndarray:
    return np.linalg.inv(truth.T_world_from_camera)


def _metres(T: np.ndarray, unit: float = 1000.0) -> np.ndarray:
    T = T.copy()
    T[..., :3, 3] /= unit
    return T


def _quaternions(T: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(T[:, :3, :3]).as_quat()  # x y z w


def float_tiff(values: np.ndarray) -> bytes:
    """Three float channels in strips of five rows, as libtiff writes them (TIFF 6.0)."""
    height, width, channels = values.shape
    strips = [values[k : k + 5].astype("<f4").tobytes() for k in range(0, height, 5)]
    n, ifd_size = len(strips), 2 + 11 * 12 + 4
    extra = 8 + ifd_size
    at_offsets, at_counts, data = extra + 12, extra + 12 + 4 * n, extra + 12 + 8 * n
    offsets = np.cumsum([data, *map(len, strips)])[:-1]
    fields = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, extra), (259, 3, 1, 1)]
    fields += [(262, 3, 1, 2), (273, 4, n, at_offsets), (277, 3, 1, channels), (278, 4, 1, 5)]
    fields += [(279, 4, n, at_counts), (284, 3, 1, 1), (339, 3, 3, extra + 6)]
    out = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(fields))
    out += b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    out += struct.pack("<6H", 32, 32, 32, 3, 3, 3)
    out += struct.pack(f"<{n}I", *offsets) + struct.pack(f"<{n}I", *map(len, strips))
    return out + b"".join(strips)


def video(path: Path, images: np.ndarray, fps: int = 25) -> None:
    """H.264 without loss of anything but chroma."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=fps, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], "rgb24"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def tar_gz(path: Path, entries: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def scared_raw(root: Path, truth: Truth, keyframe: str = "dataset_4/keyframe_2") -> None:
    """As downloaded: one stacked video, two tars and OpenCV's YAML."""
    data = root / keyframe / "data"
    video(data / "rgb.mp4", np.concatenate([truth.images, 255 - truth.images], axis=1))
    points = np.full((FRAMES, 2 * HEIGHT, WIDTH, 3), -7.0, np.float32)
    points[:, :HEIGHT, :, 2] = np.where(truth.depth > 0, truth.depth, np.nan)
    tar_gz(
        data / "scene_points.tar.gz",
        {f"scene_points{k:06d}.tiff": float_tiff(points[k]) for k in range(FRAMES)},
    )
    tar_gz(data / "frame_data.tar.gz", frame_data(truth))
    flat = ", ".join(str(x) for x in truth.K.ravel())
    bend = ", ".join(["1.0e-02", "-2.0e-02", "0.", "0.", "0."])
    matrix = "{}: !!opencv-matrix\n   rows: {}\n   cols: {}\n   dt: d\n   data: [ {} ]\n"
    calibration = "%YAML:1.0\n---\n" + matrix.format("M1", 3, 3, flat)
    calibration += matrix.format("D1", 1, 5, bend)
    _text(root / keyframe / "endoscope_calibration.yaml", calibration)


def frame_data(truth: Truth) -> dict[str, bytes]:
    """SCARED's records; camera-pose maps world to camera."""
    camera = {"KL": truth.K.tolist(), "DL": [[0.01, -0.02, 0, 0, 0]]}
    return {
        f"frame_data{k:06d}.json": json.dumps(
            {"camera-pose": T.tolist(), "camera-calibration": camera, "timestamp": k}
        ).encode()
        for k, T in enumerate(_world_to_camera(truth))
    }


def scared(root: Path, truth: Truth) -> None:
    """Unpacked by hand, as self-supervised depth repositories keep it: pictures count from 1."""
    data = root / "dataset1" / "keyframe1" / "data"
    for k in range(FRAMES):
        _picture(data / "left" / f"{k + 1:010d}.png", truth.images[k])
        points = np.zeros((2 * HEIGHT, WIDTH, 3), np.float32)
        points[:HEIGHT, :, 2] = truth.depth[k]
        (data / "scene_points").mkdir(exist_ok=True)
        (data / "scene_points" / f"scene_points{k:06d}.tiff").write_bytes(float_tiff(points))
    for name, content in frame_data(truth).items():
        _text(data / "frame_data" / name, content.decode())


def hamlyn(root: Path, truth: Truth) -> None:
    folder = root / "rectified01" / "rectified01"
    for k in range(FRAMES):
        _picture(folder / "image01" / f"{k + 1:010d}.jpg", truth.images[k])
        _codes(folder / "depth01" / f"{k + 1:010d}.png", truth.depth[k], 1.0)
    _text(folder / "intrinsics.txt", _rows(np.hstack([truth.K, np.zeros((3, 1))])))


def c3vd(root: Path, truth: Truth) -> None:
    folder = root / "cecum_t1_a"
    for k in range(FRAMES):
        _picture(folder / f"{k:04d}_color.png", truth.images[k])
        _codes(folder / f"{k:04d}_depth.tiff", truth.depth[k], 65535 / 100)
    lines = [T.T.ravel() for T in truth.T_world_from_camera]  # columns one after the other
    _text(folder / "pose.txt", _rows(np.array(lines), ","))


def servct(root: Path, truth: Truth) -> None:
    folder = root / "Experiment_1"
    for k in range(FRAMES):
        _picture(folder / "Left_rectified" / f"{k + 1:03d}.png", truth.images[k])
        _picture(folder / "Right_rectified" / f"{k + 1:03d}.png", truth.images[k])
        truths = folder / "Ground_truth_CT" / "DepthL"
        _codes(truths / f"{k + 1:03d}.png", truth.depth[k], 256)
        P1 = {"rows": 3, "cols": 4, "data": np.hstack([truth.K, np.zeros((3, 1))]).ravel().tolist()}
        _text(folder / "Rectified_calibration" / f"{k + 1:03d}.json", json.dumps({"P1": P1}))


def endonerf(root: Path, truth: Truth) -> None:
    folder, rows = root / "pulling_soft_tissues", []
    for k in range(FRAMES):
        _picture(folder / "images" / f"frame-{k:06d}.color.png", truth.images[k])
        _picture(folder / "depth" / f"frame-{k:06d}.depth.png", truth.depth[k].round().astype("u1"))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[-4:, -5:] = 255  # a tool
        _picture(folder / "masks" / f"frame-{k:06d}.mask.png", mask)
        R, t = truth.T_world_from_camera[k, :3, :3], truth.T_world_from_camera[k, :3, 3]
        down, right, back = R[:, 1], R[:, 0], -R[:, 2]
        size = np.array([HEIGHT, WIDTH, truth.K[0, 0]])
        rows.append([*np.stack([down, right, back, t, size], 1).ravel(), 1.0, 99.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))


def simcol3d(root: Path, truth: Truth) -> None:
    folder = root / "SyntheticColon_I"
    for k in range(FRAMES):
        _picture(folder / "Frames_S1" / f"FrameBuffer_{k:04d}.png", truth.images[k])
        _codes(folder / "Frames_S1" / f"Depth_{k:04d}.png", truth.depth[k], 65280 / 200)
    mirror = np.diag([1.0, -1, 1, 1])  # Unity: y up, left-handed; centimetres
    unity = _metres(mirror @ truth.T_world_from_camera @ mirror, 10.0)
    _text(folder / "SavedPosition_S1.txt", _rows(unity[:, :3, 3]))
    _text(folder / "SavedRotationQuaternion_S1.txt", _rows(_quaternions(unity)))
    _text(folder / "cam.txt", _rows(truth.K))


def stereomis(root: Path, truth: Truth) -> None:
    folder = root / "P1"
    stacked = np.concatenate([truth.images, 255 - truth.images], axis=1)
    video(folder / "IFBS_ENDOSCOPE-part0001.mp4", stacked)
    T = _metres(truth.T_world_from_camera)
    rows = np.hstack([np.arange(FRAMES)[:, None], T[:, :3, 3], _quaternions(T)])
    _text(folder / "groundtruth.txt", _rows(rows))
    keys = {"fc_x": 40.0, "fc_y": 41.0, "cc_x": 15.25, "cc_y": 11.75, "kc_0": 0.01, "kc_1": -0.02}
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    _text(folder / "StereoCalibration.ini", f"[StereoLeft]\n{lines}[StereoRight]\n{lines}")


def rendered(root: Path, truth: Truth) -> None:
    folder = root / "clip_000"
    for k in range(FRAMES):
        _picture(folder / "images" / f"{k:05d}.png", truth.images[k])
        _codes(folder / "depth" / f"{k:05d}.png", truth.depth[k], 100)
    _text(folder / "poses.txt", _rows(truth.T_world_from_camera.reshape(-1, 16)))
    _text(folder / "K.txt", _rows(truth.K))
    meta = {"fps": 25.0, "depth_unit_mm": 0.01, "distortion": 0.1}
    _text(folder / "meta.json", json.dumps(meta))


def folder(root: Path, truth: Truth) -> None:
    """RGB-D folder with a video instead of pictures: depth in mm, poses in metres."""
    video(root / "walk.mp4", truth.images)
    for k in range(FRAMES):
        _codes(root / "depth" / f"{k + 103:05d}.png", truth.depth[k], 1)
    _text(root / "poses.txt", _rows(_metres(truth.T_world_from_camera).reshape(-1, 16)))
    _text(root / "K.txt", _rows(truth.K))


def _tum(folder: Path, truth: Truth) -> None:
    begin, lists = 1305031102.175304, {"rgb": "", "depth": ""}
    for k in range(FRAMES):
        for kind, late in (("rgb", 0.0), ("depth", 0.004)):
            stamp = f"{begin + k / 30 + late:.6f}"
            lists[kind] += f"{stamp} {kind}/{stamp}.png\n"
            if kind == "rgb":
                _picture(folder / kind / f"{stamp}.png", truth.images[k])
            else:
                _codes(folder / kind / f"{stamp}.png", truth.depth[k], 5)
    for kind, lines in lists.items():
        _text(folder / f"{kind}.txt", f"# {kind} maps\n# timestamp filename\n{lines}")
    T = _metres(truth.T_world_from_camera)
    times = begin + np.arange(FRAMES) / 30 + 0.002
    lines = [
        f"{time:.4f} " + " ".join(f"{x:.9f}" for x in (*p, *q))
        for time, p, q in zip(times, T[:, :3, 3], _quaternions(T), strict=True)
    ]
    header = "# timestamp tx ty tz qx qy qz qw\n"
    _text(folder / "groundtruth.txt", header + "\n".join(lines) + "\n")


def tum(root: Path, truth: Truth) -> None:
    _tum(root / "rgbd_dataset_freiburg1_xyz", truth)


def bonn(root: Path, truth: Truth) -> None:
    _tum(root / "rgbd_bonn_dataset" / "rgbd_bonn_balloon2", truth)


def colmap(root: Path, truth: Truth, binary: bool = True) -> None:
    """Points at every third pixel, pixel corners at integers, world to camera, w first."""
    for k in range(FRAMES):
        _picture(root / "images" / f"{k:04d}.png", truth.images[k])
    v, u = (grid.ravel() for grid in np.mgrid[3:HEIGHT:3, 3:WIDTH:3])
    cameras = [(1, "OPENCV", WIDTH, HEIGHT, [40.0, 41, 15.75, 12.25, 0.01, -0.02, 0.0, 0.0])]
    images, points = [], []
    for k, (T, inverse) in enumerate(
        zip(truth.T_world_from_camera, _world_to_camera(truth), strict=True)
    ):
        rays = np.linalg.inv(truth.K) @ np.stack([u, v, np.ones(u.size)])
        world = T[:3, :3] @ (rays * truth.depth[k][v, u]) + T[:3, 3:]
        seen = [(-1.0, -1.0, -1)]
        for x, y, position in zip(u, v, world.T, strict=True):
            points.append((len(points) + 1, position))
            seen.append((x + 0.5, y + 0.5, len(points)))
        q = Rotation.from_matrix(inverse[:3, :3]).as_quat()[[3, 0, 1, 2]]
        images.append((k + 1, q, inverse[:3, 3], 1, f"{k:04d}.png", seen))
    (root / "sparse" / "0").mkdir(parents=True)
    (_colmap_binary if binary else _colmap_text)(root / "sparse" / "0", cameras, images, points)


def _colmap_text(model: Path, cameras, images, points) -> None:
    def join(values):
        return " ".join(map(str, values))

    lines = [join((n, kind, w, h, *p)) for n, kind, w, h, p in cameras]
    _text(model / "cameras.txt", "# Camera list\n" + "\n".join(lines) + "\n")
    lines = []
    for number, q, t, camera, name, seen in images:
        lines += [join((number, *q, *t, camera, name)), join(x for point in seen for x in point)]
    _text(model / "images.txt", "# Image list\n" + "\n".join(lines) + "\n")
    lines = [join((n, *p, 9, 9, 9, 0.5, 1, n)) for n, p in points]
    _text(model / "points3D.txt", "# 3D points\n" + "\n".join(lines) + "\n")


def _colmap_binary(model: Path, cameras, images, points) -> None:
    out = struct.pack("<Q", len(cameras))
    for number, _, width, height, parameters in cameras:
        out += struct.pack("<iiQQ", number, 4, width, height) + struct.pack("<8d", *parameters)
    (model / "cameras.bin").write_bytes(out)
    out = struct.pack("<Q", len(images))
    for number, q, t, camera, name, seen in images:
        out += struct.pack("<i7di", number, *q, *t, camera) + name.encode() + b"\0"
        out += struct.pack("<Q", len(seen)) + b"".join(struct.pack("<ddq", *s) for s in seen)
    (model / "images.bin").write_bytes(out)
    out = struct.pack("<Q", len(points))
    for number, position in points:
        out += struct.pack("<Q3d3BdQ2i", number, *position, 9, 9, 9, 0.5, 1, 1, 0)
    (model / "points3D.bin").write_bytes(out)


def kitti(root: Path, truth: Truth) -> None:
    drive, date = "2011_09_26_drive_0002_sync", root / "2011_09_26"
    for k in range(FRAMES + 2):  # the first and the last pictures have no depth
        picture = truth.images[min(max(k - 1, 0), FRAMES - 1)]
        _picture(date / drive / "image_02" / "data" / f"{k:010d}.png", picture)
    for k in range(FRAMES):
        truths = root / "val" / drive / "proj_depth" / "groundtruth" / "image_02"
        _codes(truths / f"{k + 1:010d}.png", truth.depth[k], 256 / 1000)
    P = _rows(np.hstack([truth.K, [[44.8], [0.2], [0.003]]]).reshape(1, -1))
    calibration = f"calib_time: 09-Jan-2012 13:57:47\nP_rect_00: {P}P_rect_02: {P}"
    _text(date / "calib_cam_to_cam.txt", calibration)


def scannet(root: Path, truth: Truth) -> None:
    folder = root / "scans_test" / "scene0707_00"
    T = _metres(truth.T_world_from_camera)
    for k in range(FRAMES):
        large = truth.images[k].repeat(2, axis=0).repeat(2, axis=1)  # colour is finer than depth
        _picture(folder / "color" / f"{k}.jpg", large)
        _codes(folder / "depth" / f"{k}.png", truth.depth[k], 1)
        _text(folder / "pose" / f"{k}.txt", _rows(T[k]))
    K = np.eye(4)
    K[:3, :3] = truth.K
    _text(folder / "intrinsic" / "intrinsic_depth.txt", _rows(K))
    _text(folder / "intrinsic" / "intrinsic_color.txt", _rows(K * [[2], [2], [1], [1]]))


def nyuv2(root: Path, truth: Truth) -> None:
    for k in range(FRAMES):
        _picture(root / "bathroom" / f"rgb_{k + 45:05d}.jpg", truth.images[k])
        _codes(root / "bathroom" / f"sync_depth_{k + 45:05d}.png", truth.depth[k], 1)


def nyuv2_labelled(root: Path, truth: Truth, split: bool = True) -> None:
    """HDF5 behind MATLAB's header, as version 7.3 writes it, and the split in its older format."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in (
            ("images", truth.images.transpose(0, 3, 2, 1)),
            ("depths", (truth.depth / 1000).transpose(0, 2, 1).astype(np.float32)),
        ):
            options = {"compression": "gzip", "chunks": (1, *values.shape[1:])}
            file.create_dataset(name, data=values, **options).attrs["MATLAB_class"] = np.bytes_(
                "uint8" if name == "images" else "single"
            )
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    if split:
        arrays = {"trainNdxs": np.array([[3.0]]), "testNdxs": np.array([[1.0], [2.0]])}
        savemat(root / "splits.mat", arrays, do_compression=True)


def sintel(root: Path, truth: Truth) -> None:
    training = root / "training"
    for k, T in enumerate(_metres(_world_to_camera(truth))):
        name = f"frame_{k + 1:04d}"
        _picture(training / "final" / "alley_1" / f"{name}.png", truth.images[k])
        depth = training / "depth" / "alley_1" / f"{name}.dpt"
        depth.parent.mkdir(parents=True, exist_ok=True)
        with depth.open("wb") as file:
            np.float32(202021.25).tofile(file)
            np.array([WIDTH, HEIGHT], np.int32).tofile(file)
            (truth.depth[k] / 1000).astype(np.float32).tofile(file)
        camera = training / "camdata_left" / "alley_1" / f"{name}.cam"
        camera.parent.mkdir(parents=True, exist_ok=True)
        with camera.open("wb") as file:
            np.float32(202021.25).tofile(file)
            truth.K.astype(np.float64).tofile(file)
            T[:3].astype(np.float64).tofile(file)


def tartanair(root: Path, truth: Truth) -> None:
    folder = root / "abandonedfactory" / "Easy" / "P000"
    for k in range(FRAMES):
        _picture(folder / "image_left" / f"{k:06d}_left.png", truth.images[k])
        depth = folder / "depth_left" / f"{k:06d}_left_depth.npy"
        depth.parent.mkdir(exist_ok=True)
        np.save(depth, (truth.depth[k] / 1000).astype(np.float32))
    T = _metres(truth.T_world_from_camera)
    ned = T.copy()  # camera axes forward, right, down
    ned[:, :3, :3] = np.stack([T[:, :3, 2], T[:, :3, 0], T[:, :3, 1]], axis=-1)
    _text(folder / "pose_left.txt", _rows(np.hstack([T[:, :3, 3], _quaternions(ned)])))


def vkitti2(root: Path, truth: Truth) -> None:
    folder = root / "Scene01" / "clone"
    extrinsic = "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1\n"
    intrinsic = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n"
    for k, T in enumerate(_metres(_world_to_camera(truth))):
        _picture(folder / "frames" / "rgb" / "Camera_0" / f"rgb_{k:05d}.jpg", truth.images[k])
        codes = (truth.depth[k] / 10 + 0.5).astype(np.uint16)
        codes[truth.depth[k] == 0] = 65535  # sky
        _picture(folder / "frames" / "depth" / "Camera_0" / f"depth_{k:05d}.png", codes)
        for camera in (0, 1):
            values = T + camera * 100
            extrinsic += _rows(np.array([k, camera, *values.ravel()]))
            intrinsic += f"{k} {camera} 40 41 15.25 11.75\n"
    _text(folder / "extrinsic.txt", extrinsic)
    _text(folder / "intrinsic.txt", intrinsic)


def pointodyssey(root: Path, truth: Truth) -> None:
    folder = root / "train" / "ani"
    for k in range(FRAMES):
        _picture(folder / "rgbs" / f"rgb_{k:05d}.jpg", truth.images[k])
        _codes(folder / "depths" / f"depth_{k:05d}.png", truth.depth[k], 65535 / 1e6)
    np.savez(
        folder / "anno.npz",
        trajs_2d=np.zeros((FRAMES, 4, 2), np.float32),
        intrinsics=np.tile(truth.K, (FRAMES, 1, 1)).astype(np.float32),
        extrinsics=_metres(_world_to_camera(truth)).astype(np.float32),
    )


def irs(root: Path, truth: Truth) -> None:
    folder = root / "Home" / "ArchVizInteriorVol3Data"
    for k in range(FRAMES):
        _picture(folder / f"l_{k + 1}.png", truth.images[k])
        with np.errstate(divide="ignore"):
            disparity = np.where(truth.depth[k] > 0, 480 * 100 / truth.depth[k], 0)
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        channels = {"Y": np.ascontiguousarray(disparity, np.float32)}
        OpenEXR.File(header, channels).write(str(folder / f"d_{k + 1}.exr"))


ENDOSCOPE, ROOM, STREET = (20.0, 95.0), (800.0, 4000.0), (4000.0, 60000.0)


@dataclass(frozen=True)
class Published:
    """How a sample is made, and what a reader must find in it."""

    make: Callable[[Path, Truth], None]
    depths: tuple[float, float]
    step: float  # mm from one depth to the next
    poses: bool = True
    K: bool = True  # of the truth, not of a fixed camera
    jpeg: bool = False


PUBLISHED = {
    "scared": Published(scared, ENDOSCOPE, 0),
    "hamlyn": Published(hamlyn, ENDOSCOPE, 1, poses=False, jpeg=True),
    "c3vd": Published(c3vd, ENDOSCOPE, 100 / 65535, K=False),
    "servct": Published(servct, ENDOSCOPE, 1 / 256, poses=False),
    "endonerf": Published(endonerf, ENDOSCOPE, 1, K=False),
    "simcol3d": Published(simcol3d, ENDOSCOPE, 200 / 65280),
    "rendered": Published(rendered, ENDOSCOPE, 0.01),
    "folder": Published(folder, ROOM, 1),
    "tum": Published(tum, ROOM, 0.2, K=False),
    "bonn": Published(bonn, ROOM, 0.2, poses=False, K=False),
    "kitti": Published(kitti, STREET, 1000 / 256, poses=False),
    "scannet": Published(scannet, ROOM, 1, jpeg=True),
    "nyuv2": Published(nyuv2, ROOM, 1, poses=False, K=False, jpeg=True),
    "sintel": Published(sintel, ROOM, 0),
    "tartanair": Published(tartanair, ROOM, 0, K=False),
    "vkitti2": Published(vkitti2, STREET, 10, jpeg=True),
    "pointodyssey": Published(pointodyssey, ROOM, 1e6 / 65535, jpeg=True),
    "irs": Published(irs, ROOM, 0, poses=False, K=False),
}


def make(name: str, root: Path) -> Truth:
    """A sample of a dataset below `root`, and what it says."""
    truth = make_truth(*PUBLISHED[name].depths)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    PUBLISHED[name].make(root, truth)
    return truth
