"""How the evaluation of a whole run looks in a terminal."""

from rich.console import Console

from atlas.types import Run


def show_joint(console: Console, run: Run) -> None:
    """What replacing z of all the run's layers at once costs; nothing where it has one SAE."""
    one = run.joint
    if one is None:
        return
    layers = ", ".join(map(str, one.layers))
    console.print(
        f"layers {layers} replaced at once: CE clean {one.ce_clean:.4f} · SAE {one.ce_sae:.4f}"
        f" · zero {one.ce_zero:.4f} · mean {one.ce_mean:.4f} ({one.tokens:,} tokens)",
        markup=False,
    )
    low, high = one.sae_cost.low, one.sae_cost.high
    told = [f"the SAEs cost {low:.4f} to {high:.4f} nats"]
    for name, value in (("zero", one.recovered_zero), ("mean", one.recovered_mean)):
        share = "withheld (noise)" if value is None else f"{value:.1%}"
        told.append(f"recovered against {name} ablation: {share}")
    console.print(" · ".join(told), markup=False)
