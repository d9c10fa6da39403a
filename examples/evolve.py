"""Find the minimum of the Rastrigin function by evolution: DEAP's algorithm, with its ``map`` replaced by ours.

::

    pip install deap
    scoop-hpc run examples/evolve.py
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

from deap import algorithms, base, benchmarks, creator, tools

from scoop_hpc import futures

# workers import this file under another name than the origin: what crosses between them is made at its top level
creator.create("Minimum", base.Fitness, weights=(-1.0,))
creator.create("Individual", list, fitness=creator.Minimum)


def evaluate(individual: Sequence[float]) -> tuple[float]:
    """Return the function's value; its minimum is 0 in the origin."""
    value: float = benchmarks.rastrigin(individual)[0]
    return (value,)


def make_toolbox(dimensions: int) -> base.Toolbox:
    """Return DEAP's tools for points of that many dimensions, each between -5 and 5."""
    toolbox = base.Toolbox()
    toolbox.register("coordinate", random.uniform, -5, 5)
    toolbox.register("individual", tools.initRepeat, creator.Individual, toolbox.coordinate, dimensions)
    toolbox.register("population", tools.initRepeat, list, toolbox.individual)
    toolbox.register("evaluate", evaluate)
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register("mutate", tools.mutGaussian, mu=0, sigma=0.3, indpb=0.3)
    toolbox.register("select", tools.selTournament, tournsize=3)
    toolbox.register("map", futures.map)
    return toolbox


def main() -> None:
    parser = argparse.ArgumentParser(description="Minimise the Rastrigin function.")
    parser.add_argument("--population", type=int, default=100)
    parser.add_argument("--generations", type=int, default=40)
    parser.add_argument("--dimensions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    random.seed(arguments.seed)
    toolbox = make_toolbox(arguments.dimensions)
    population = toolbox.population(n=arguments.population)
    start = min(evaluate(individual)[0] for individual in population)
    best = tools.HallOfFame(1)
    algorithms.eaSimple(population, toolbox, 0.6, 0.4, arguments.generations, halloffame=best, verbose=False)
    end = best[0].fitness.values[0]
    print(f"best of generation 0: {start:.6f}")
    print(f"best of generation {arguments.generations}: {end:.6f}")
    if end > start / 4:
        raise SystemExit("evolution found nothing much better")


if __name__ == "__main__":
    main()
