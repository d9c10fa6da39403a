#!/usr/bin/env bash
# cloudpickle does not ask copyreg about a class's metaclass; pickle does.
#
# One would guess: whatever pickle can pickle, cloudpickle can, for it falls back on pickle; so an executor that sends
# functions by value (joblib, dask, ipyparallel) sends DEAP's individuals with them, as the standard library's sends
# them by themselves.
# True is: DEAP registers a reducer for the metaclass of its created classes [copyreg.pickle]. pickle looks for that
# reducer before it treats a class as a class [pickle, save: dispatch_table before issubclass(t, type)]. cloudpickle's
# reducer_override comes before the dispatch table, and takes apart every class that it cannot import by name, without a
# look at copyreg. DEAP makes a created class anew when it unpickles one, so that the classes of individuals made before
# cannot be imported by name any more: from then on they go through pickle, and not through cloudpickle.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/python" -m pip install --quiet --disable-pip-version-check cloudpickle==3.1.1 deap==1.4.1

"$directory/venv/bin/python" - <<'EOP'
import pickle
from importlib.metadata import version

import cloudpickle
from deap import base, creator

print("cloudpickle", version("cloudpickle"), "deap", version("deap"))
creator.create("Fitness", base.Fitness, weights=(1.0,))
creator.create("Individual", list, fitness=creator.Fitness)
individual = creator.Individual([1, 2])
pickle.loads(pickle.dumps(individual))  # as any result that has come back from another process

print("class that is importable now is the individual's:", creator.Individual is type(individual))
print("pickle:", pickle.loads(pickle.dumps(individual)))
try:
    print("cloudpickle:", pickle.loads(cloudpickle.dumps(individual)))
    raise SystemExit("cloudpickle heeds the metaclass's reducer now")
except TypeError as error:
    print("cloudpickle: TypeError:", error)
EOP
