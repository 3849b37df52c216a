"""SAELens' side of the training benchmark; run by a python that has sae-lens, never by ours.

python train_saelens.py z.safetensors order.safetensors settings.json OUT
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from safetensors.torch import load_file


def main(z_file: str, order_file: str, settings_file: str, out: str) -> None:
    """Train one SAE after the other on the same batches; write each, and the seconds."""
    asked = json.loads(Path(settings_file).read_text())
    torch.set_num_threads(asked["threads"])
    z, order = load_file(z_file)["train"], load_file(order_file)["order"]
    seconds, cpu = [], []
    for layer, index in asked["layers"].items():
        sae = BatchTopKTrainingSAE(
            BatchTopKTrainingSAEConfig(
                d_in=z.shape[2],
                d_sae=asked["d_sae"],
                k=asked["k"],
                normalize_activations="expected_average_only_in",
                use_sparse_activations=asked["sparse"],
            )
        )
        sae.cfg.metadata.hook_name = f"blocks.{layer}.attn.hook_z"
        cfg = SAETrainerConfig(
            total_training_samples=order.numel(),
            train_batch_size_samples=order.shape[1],
            lr=asked["lr"],
            lr_warm_up_steps=round(len(order) * asked["warmup"]),
            lr_decay_steps=round(len(order) * asked["decay"]),
            lr_end=0.0 if asked["decay"] else asked["lr"] / 10,  # its default
            autocast=asked["autocast"],
            dead_feature_window=asked["dead_steps"],
            n_batches_for_norm_estimate=0,
        )
        trainer = SAETrainer(cfg, sae, (z[rows, index].float() for rows in order))
        factor = _factor(z[:65_536, index].float())
        trainer.activation_scaler.scaling_factor = factor
        sae.cfg.normalize_activations = "none"  # no pass of its own to estimate it: not timed
        begun, busy = time.monotonic(), time.process_time()
        trained = trainer.fit()
        seconds.append(time.monotonic() - begun)
        cpu.append(time.process_time() - busy)
        # The end of its training folds the factor into the weights but not into the threshold,
        # which then lets next to nothing through: without this line its L0 is far from k.
        trained.topk_threshold /= factor
        trained.save_inference_model(Path(out) / f"layer-{layer}")
    found = {
        "seconds": seconds,
        "cpu": cpu,
        "versions": {n: version(n) for n in ("sae-lens", "torch")},
    }
    (Path(out) / "found.json").write_text(json.dumps(found))


def _factor(z: torch.Tensor) -> float:
    """What SAELens estimates from the first batches: sqrt(d_in) over the mean norm."""
    return float(z.shape[1] ** 0.5 / z.norm(dim=-1).mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
