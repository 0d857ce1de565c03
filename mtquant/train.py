"""``python -m mtquant.train``: bars in, a trained and honestly tested bundle out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mtquant.agents.bundle import Bundle
from mtquant.agents.catalogue import CHECKPOINTS
from mtquant.commands.data import import_file_shown
from mtquant.config.data import DATA_DIR, only_symbol
from mtquant.config.load import SYMBOLS, env_of_symbol, find, load_agent, load_env, load_symbols
from mtquant.config.risk import apply_risk, load_risk
from mtquant.config.schema import EnvConfig
from mtquant.console import INTERRUPTED, TrainingScreen, run_app
from mtquant.errors import ConfigError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def train(
    symbol: Annotated[str | None, typer.Option(help="What to trade, such as XAUUSD.")] = None,
    agent: Annotated[str, typer.Option(help="Name of configs/agents, or a YAML file.")] = "ppo",
    env: Annotated[str | None, typer.Option(help="Name or YAML file of an env.")] = None,
    risk: Annotated[str | None, typer.Option(help="Profile of configs/risk.yaml.")] = None,
    data: Annotated[Path | None, typer.Option(help="Import this file first.")] = None,
    clock: Annotated[str | None, typer.Option(help="Clock of the file's times.")] = None,
    timeframe: Annotated[str | None, typer.Option(help="Bar length; the env's if omitted.")] = None,
    timesteps: Annotated[int | None, typer.Option(help="Frames; the agent's if omitted.")] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    seeds: Annotated[int, typer.Option(help="Train so many seeds, in parallel.")] = 1,
    ensemble: Annotated[str | None, typer.Option(help="mean: deploy the seeds' mean.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the bundle.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of bundles.")] = CHECKPOINTS,
    data_dir: Annotated[Path, typer.Option(help="Folder of the store.")] = DATA_DIR,
    resume: Annotated[str | None, typer.Option(help="Go on with this stopped run.")] = None,
    profile: Annotated[bool, typer.Option(help="Say where the time goes.")] = False,
) -> None:
    """Train an agent, select it on validation, test it once, and write a bundle."""
    console = Console()
    if resume is not None:
        if symbol or env or risk or data or name or seeds != 1 or ensemble or profile:
            raise ConfigError(
                f"--resume {resume} goes on with what that run began with; leave the rest out"
            )
        _run_and_show(
            console,
            lambda trainer, screen: trainer.resume_training(resume, out=out, listener=screen),
        )
        return
    if symbol is None and env is None:
        raise ConfigError("say what to trade: --symbol XAUUSD, or --env NAME")
    if data is None and clock is not None:
        raise ConfigError("--clock reads the times of a file; give the file with --data")
    chosen, overrides = _resolve(console, symbol, env, agent, timeframe)
    chosen = _under(console, chosen, risk)
    # Here and not above: a wrong name is refused before torch takes its seconds to load.
    from mtquant.training.plan import TrainingConfig, check_training

    config = TrainingConfig(
        env=chosen,
        agent=agent,
        timesteps=timesteps,
        seed=seed,
        seeds=seeds,
        ensemble=ensemble,
        name=name,
        out=out,
        data_dir=data_dir,
        overrides=overrides,
        profile=profile,
    )
    if data is not None:
        check_training(config)
        imported = import_file_shown(console, data, only_symbol(chosen), timeframe, clock, data_dir)
        config = replace(config, overrides={**overrides, "timeframe": imported.timeframe.name})
    _run_and_show(console, lambda trainer, screen: trainer.run_training(config, listener=screen))


def _resolve(
    console: Console, symbol: str | None, env: str | None, agent: str, timeframe: str | None
) -> tuple[EnvConfig, dict[str, Any]]:
    """The env, and where each configuration file came from."""
    if symbol is not None:
        symbol = load_symbols()[symbol].name
    config, env_file = load_env(env) if env is not None else env_of_symbol(str(symbol))
    if symbol is not None and symbol not in config.symbols:
        raise ConfigError(
            f"env {config.name} trades {', '.join(config.symbols)}, not {symbol}; leave one out"
        )
    _agent, agent_file = load_agent(agent)
    symbols_file = find(SYMBOLS)
    for what, found in (("env", env_file), ("agent", agent_file), ("symbols", symbols_file)):
        origin = f"{found.path.name} ({found.origin})" if found else f"{config.name} (defaults)"
        console.print(f"{what:<8} {origin}", highlight=False)
    return config, {} if timeframe is None else {"timeframe": timeframe}


def _under(console: Console, env: EnvConfig, risk: str | None) -> EnvConfig:
    """The env under a risk profile, and where that came from."""
    if risk is None:
        return env
    profile, found = load_risk(risk)
    console.print(f"risk     {risk} of {found.path.name} ({found.origin})", highlight=False)
    return apply_risk(env, profile)


def _run_and_show(console: Console, run: Callable[[Any, TrainingScreen], Bundle]) -> None:
    from mtquant.training import trainer
    from mtquant.training.run import Interrupted

    try:
        with TrainingScreen(console) as screen:
            bundle = run(trainer, screen)
    except Interrupted as stopped:
        console.print(
            f"stopped; go on with: python -m mtquant.train --resume {stopped.name}",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    console.print(
        f"bundle   {bundle.path}\nreport   {bundle.path / 'report.html'}\n"
        f"hash     {bundle.manifest.bundle_hash}",
        markup=False,
        soft_wrap=True,
        highlight=False,
    )


if __name__ == "__main__":
    run_app(app)
