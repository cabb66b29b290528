"""Searches replayed on tables of networks whose accuracies are known: how many trainings each needs.

    python benchmarks/search_replay.py                          # samplers on simulated tables
    python benchmarks/search_replay.py --seeds 20 --out FILE    # and the figures as JSON
    python benchmarks/search_replay.py --trained first          # on networks that were trained

A trained table (`data/search_first.csv`, by search_table.py): what each network gave when it was trained, epoch by
epoch. What counts is what a training gave, for that network is what one gets; how far a second training of the same
network is from the first is said beside it. The budget is the latency that `--fits` of all networks keep.

A simulated table: 5,886 networks of eight choices, conditional ones among them, latencies known, a quarter within the
budget, accuracies that saturate and interact, each training with noise of its own, rungs at a sixth and at half of the
training. `--lies` is how far networks differ in how fast they learn: 0 and early ranks are those of the end. Cost is
counted in full trainings. A search is done when what it has trained to the end dominates 98 % of the area that the best
networks within the budget dominate.
Every sampler is given the same knowledge of what fits: as a search has them (`sampler: tpe`), the network that fits and
is nearest to a proposal of Optuna's is trained; by itself, a sampler is asked again, for nothing and some times, until
it proposes a network within the budget that was not trained, and then chance decides. Each starts in its own way. The
first row is what one needs who knows all accuracies, and takes what adds most each time.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
from replay_tables import LIES, NOISE, RUNGS, Table, apart, simulated, trained
from scipy.stats import spearmanr

from search.model.proposal import Pool, Result, first, propose
from search.model.rungs import TRUST, trusted
from search.space.ranked import NOTED, Ranked
from search.space.samplers import make_sampler
from search.study.sampling import nearest, notes_of

HERE = Path(__file__).resolve().parent
SHARE = 0.98
START = 10
ASKED = 20
"""Proposals that a sampler may make before chance decides."""
Train = Callable[..., float]
"""Trains a network by its number to its end, or to a rung (1, 3, 6), going on from the one before: its accuracy."""
Search = Callable[[Table, int, Train], None]
"""Trains networks until it is stopped."""


class _Done(Exception):
    """The share was reached, or all that a search may train was trained."""


def cost(search: Search, table: Table, seed: int, most: int) -> float:
    """Full trainings until the share of the best area; `most` where it was not reached."""
    fits = np.flatnonzero(table.latency_ms <= table.budget_ms)
    goal = SHARE * table.area([int(i) for i in fits])
    rng, trained, sixths = np.random.default_rng(10_000 + seed), list[int](), dict[int, int]()

    def train(number: int, rung: int = RUNGS[-1]) -> float:
        sixths[number] = rung
        if rung == RUNGS[-1]:
            trained.append(number)
            if table.area(trained) >= goal:
                raise _Done
        if sum(sixths.values()) >= most * RUNGS[-1]:
            raise _Done
        return float(table.curves[number, RUNGS.index(rung)] + rng.normal(0, table.noise))

    with suppress(_Done):
        search(table, seed, train)
    return sum(sixths.values()) / RUNGS[-1]


def knowing(table: Table) -> int:
    """Trainings of one who knows all accuracies, and takes what adds most each time."""
    left = {int(i) for i in np.flatnonzero(table.latency_ms <= table.budget_ms)}
    goal, trained = SHARE * table.area(sorted(left)), list[int]()
    while table.area(trained) < goal:
        trained.append(max(sorted(left), key=lambda number: table.area([*trained, number])))
        left.discard(trained[-1])
    return len(trained)


def pausing(table: Table, seed: int, train: Train) -> None:
    """Ours, as `sampler: model` does it: rungs that order networks as the end does, at which all give way."""
    fits = np.flatnonzero(table.latency_ms <= table.budget_ms)
    pool = Pool([table.params[i] for i in fits], table.latency_ms[fits], np.ones(len(fits)))
    curves, results, begun = dict[int, dict[int, float]](), list[Result](), dict[int, float]()
    while len(curves) < len(fits) or begun:
        step = seed * 100_000 + len(results)
        tried = dict.fromkeys((number for number in curves if number not in begun), True)
        if len(curves) < START:
            number = first(pool, sorted(curves), step)
        else:
            number = propose(
                table.space, pool, results, [], tried, budget_ms=table.budget_ms, goal="front", seed=step, begun=begun
            ).number
        curve = curves.setdefault(number, {})
        begun.pop(number, None)
        for rung in RUNGS:
            if rung in curve:
                continue
            curve[rung] = train(int(fits[number]), rung)
            results.append(Result(pool.params[number], float(pool.latency_ms[number]), rung / RUNGS[-1], curve[rung]))
            ended = [one for one in curves.values() if RUNGS[-1] in one]
            if rung != RUNGS[-1] and len(curves) > START and trusted(ended, RUNGS)[rung] > TRUST:
                begun[number] = rung / RUNGS[-1]
                break


def model(table: Table, seed: int, train: Train) -> None:
    """Ours: a Gaussian process over the pool of what fits, every training a full one."""
    fits = np.flatnonzero(table.latency_ms <= table.budget_ms)
    pool = Pool([table.params[i] for i in fits], table.latency_ms[fits], np.ones(len(fits)))
    tried, results = dict[int, bool](), list[Result]()
    while len(tried) < len(fits):
        step = seed * 1000 + len(tried)
        if len(tried) < START:
            number = first(pool, sorted(tried), step)
        else:
            number = propose(
                table.space, pool, results, [], tried, budget_ms=table.budget_ms, goal="front", seed=step
            ).number
        tried[number] = True
        accuracy = train(int(fits[number]))
        results.append(Result(pool.params[number], float(pool.latency_ms[number]), 1.0, accuracy))


def chance(table: Table, seed: int, train: Train) -> None:
    """What fits, in random order."""
    for number in np.random.default_rng(seed).permutation(np.flatnonzero(table.latency_ms <= table.budget_ms)):
        train(int(number))


def by_optuna(name: str) -> Search:
    """A sampler of Optuna as `sampler: NAME` has it: what fits and is nearest to its proposal is trained."""

    def search(table: Table, seed: int, train: Train) -> None:
        """Train what stands for its proposals."""
        ranked, free = Ranked(table.space), np.flatnonzero(table.latency_ms <= table.budget_ms).tolist()
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=make_sampler(name, seed, START))
        kept = optuna.create_study(directions=["maximize", "minimize"])  # what was trained, in values
        while free:
            asked = study.ask()
            place = nearest(
                table.space, [table.params[i] for i in free], ranked.suggest(asked), seed * 1000 + len(free)
            )
            number = free.pop(place)
            study.tell(asked, state=optuna.trial.TrialState.FAIL)  # what is trained may be another one
            kept.enqueue_trial(table.params[number], user_attrs={NOTED: notes_of(asked)})
            trained = kept.ask()
            table.space.sample(trained)
            kept.tell(trained, [train(number), float(table.latency_ms[number])])
            study.add_trial(ranked.seen(kept.get_trials(deepcopy=False)[-1]))

    return search


def alone(make: Callable[[int], optuna.samplers.BaseSampler]) -> Search:
    """A sampler of Optuna by itself, to whom values are names: asked again some times, then chance decides."""

    def search(table: Table, seed: int, train: Train) -> None:
        """Train what the sampler proposes."""
        places = {json.dumps(one, sort_keys=True): number for number, one in enumerate(table.params)}
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=make(seed))
        rng, done = np.random.default_rng(seed), set[int]()
        fits = set(np.flatnonzero(table.latency_ms <= table.budget_ms).tolist())
        while done != fits:
            for _ in range(ASKED):
                trial = study.ask()
                number = places[json.dumps(table.space.sample(trial), sort_keys=True)]
                if number in fits and number not in done:
                    break
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                number = int(rng.choice(sorted(fits - done)))
                study.enqueue_trial(table.params[number])
                trial = study.ask()
                table.space.sample(trial)
            done.add(number)
            study.tell(trial, [train(number), float(table.latency_ms[number])])

    return search


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=START, multivariate=False)


def _nsga2(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)


SEARCHES: dict[str, Search] = {
    "chance, of what fits": chance,
    "NSGA-II by itself": alone(_nsga2),
    "TPE by itself, each choice alone": alone(_tpe),
    "`sampler: nsga2`": by_optuna("nsga2"),
    "`sampler: tpe`": by_optuna("tpe"),
    "`sampler: gp`": by_optuna("gp"),
    "model, full trainings": model,
    "model, pausing (`sampler: model`)": pausing,
}


def main() -> None:
    """Replay all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--most", type=int, default=400, help="trainings after which a search counts as not done")
    parser.add_argument("--tables", type=int, default=2, help="simulated tables, each with other gains")
    parser.add_argument("--noise", type=float, default=NOISE, help="standard deviation of a training")
    parser.add_argument("--lies", type=float, default=LIES, help="how far networks differ in how fast they learn")
    parser.add_argument("--only", default="", help="searches whose name holds it")
    parser.add_argument("--trained", help="a space of `search_spaces` that was trained, in place of simulated tables")
    parser.add_argument("--fits", type=float, default=0.75, help="share of a trained table that keeps the budget")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    print(f"| table | search | trainings to {SHARE:.0%}, median | worst of {options.seeds} | s a proposal |")
    print("|" + " --- |" * 5)
    kept = []
    for number, table in _tables(options):
        ranks = [spearmanr(table.curves[:, i], table.accuracy).statistic for i in range(len(RUNGS) - 1)]
        print(f"| {number} | all accuracies known | {knowing(table)} | rungs: {ranks[0]:.2f}, {ranks[1]:.2f} | |")
        for name, search in SEARCHES.items():
            if options.only not in name:
                continue
            began = time.monotonic()
            costs = [cost(search, table, seed, options.most) for seed in range(options.seeds)]
            each = (time.monotonic() - began) / sum(costs)
            print(f"| {number} | {name} | {np.median(costs):.0f} | {max(costs):.0f} | {each:.3f} |", flush=True)
            kept.append({"table": number, "search": name, "costs": costs, "seconds": each})
    if options.out is not None:
        options.out.write_text(json.dumps(kept, indent=1) + "\n")


def _tables(options: argparse.Namespace) -> Iterator[tuple[str, Table]]:
    """The tables by name."""
    if options.trained is not None:
        file = HERE / "data" / f"search_{options.trained}.csv"
        if not file.is_file():
            raise SystemExit(f"{file}: not there; accepted: a table that search_table.py has made")
        twice = apart(file)
        if len(twice):
            deviation = np.sqrt(np.mean(twice**2) / 2)
            print(f"\n{len(twice)} networks were trained twice: standard deviation of a training {deviation:.4f}\n")
        yield options.trained, trained(file, HERE / "search_spaces" / f"{options.trained}.yaml", options.fits)
        return
    for number in range(options.tables):
        yield str(number), replace(simulated(number, options.lies), noise=options.noise)


if __name__ == "__main__":
    main()
