"""Speed and memory of training DeepLabv3+, and speed of a trained model.

    python benchmarks/training.py train --device cuda
    python benchmarks/training.py predict --threads 2

`train` times whole optimiser steps on photos that are in memory already, in fp32 and in mixed
precision; `predict` times one photo with torch and with onnxruntime. Weights are random.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from recoseg.device import resolve_compute
from recoseg.training.export import Exported, export_onnx
from recoseg.training.losses import weighted_cross_entropy
from recoseg.training.model import ModelInfo, TrainedModel
from recoseg.training.module import parameter_groups
from recoseg.training.network import build_network, scores_at, statistics_of
from recoseg.training.recipe import recipe


def train(options: argparse.Namespace) -> None:
    """Print images per second and peak memory for each precision."""
    settings = recipe("paper", encoder=options.encoder, output_stride=options.output_stride)
    shape = (options.batch_size, 3, options.crop, options.crop)
    for precision in options.precisions.split(","):
        compute = resolve_compute(options.device, precision)
        network = build_network(options.encoder, options.classes, options.output_stride)
        network = network.to(compute.device).train()
        optimizer = torch.optim.Adam(
            parameter_groups(network, settings), weight_decay=settings.weight_decay
        )
        scaler = torch.amp.GradScaler(compute.device.type, enabled=precision == "fp16")
        images = torch.randn(shape, device=compute.device)
        labels = torch.randint(0, options.classes, (shape[0], *shape[2:]), device=compute.device)
        cuda = compute.device.type == "cuda"
        started = 0.0
        for step in range(options.warm_up + options.steps):
            if step == options.warm_up:
                if cuda:
                    torch.cuda.synchronize()
                    torch.cuda.reset_peak_memory_stats()
                started = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            with compute.autocast():
                loss = weighted_cross_entropy(scores_at(network, images), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        speed = options.steps * options.batch_size / seconds
        memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if cuda else ""
        print(f"{options.encoder} {options.crop} px {precision}: {speed:.2f} images/s{memory}")


def predict(options: argparse.Namespace) -> None:
    """Print milliseconds for one photo, the fastest of several runs."""
    import onnxruntime

    torch.set_num_threads(options.threads)
    network = build_network(
        options.encoder, options.classes, options.output_stride, separable=options.separable
    )
    names = tuple(str(number) for number in range(options.classes))
    info = ModelInfo(
        options.encoder,
        options.output_stride,
        options.separable,
        names,
        ((0, 0, 0),) * len(names),
        statistics_of(options.encoder),
        options.crop,
        {},
    )
    model = TrainedModel(network.eval(), info)
    image = torch.randint(0, 256, (1, 3, options.crop, options.crop), dtype=torch.uint8)
    exported = Exported(model).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        difference = export_onnx(model, path)
        choices = onnxruntime.SessionOptions()
        choices.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(path.read_bytes(), choices)
    for precision in options.precisions.split(","):
        compute = resolve_compute("cpu", precision)
        with torch.inference_mode(), compute.autocast() if precision != "fp32" else nullcontext():
            best = min(timed(lambda: exported(image)) for _ in range(options.steps))
        print(f"{options.encoder} {options.crop} px, torch {precision}: {best * 1000:.0f} ms")
    array = image.numpy()
    best = min(timed(lambda: session.run(None, {"image": array})) for _ in range(options.steps))
    print(f"{options.encoder} {options.crop} px, onnxruntime fp32: {best * 1000:.0f} ms")
    print(f"largest difference of a score: {difference:.1g}")


def timed(work) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["train", "predict"])
    parser.add_argument("--encoder", default="resnet101")
    parser.add_argument("--output-stride", type=int, default=8)
    parser.add_argument("--separable", action="store_true")
    parser.add_argument("--classes", type=int, default=27)
    parser.add_argument("--crop", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=3)
    options = parser.parse_args()
    {"train": train, "predict": predict}[options.what](options)


if __name__ == "__main__":
    main()
