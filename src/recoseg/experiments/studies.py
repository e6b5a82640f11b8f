"""The studies: from a common configuration to the rows of each table."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from recoseg.classes import ClassNames
from recoseg.config import LearnSettings
from recoseg.errors import UnknownNameError
from recoseg.experiments.study import Published, Setup, Study, StudyRow
from recoseg.memory.region_memory import RegionMemory
from recoseg.refinement.refiner import RefineForm, RefineSettings
from recoseg.segmentation.fusion import fusion_rule
from recoseg.segmentation.voting import Voting

SEEDS = (1, 5, 10, 50, 100)
K = (10, 20, 30, 40, 50, 100)
_RENAMED_ALONE = 4
"""With at most this many renamed classes, each is also renamed alone."""


@dataclass(frozen=True)
class Baseline:
    """The configuration that all studies vary.

    Attributes:
        setups: Archives and encoders; only the study of encoders uses more than the first.
        classes: The classes, with their words.
        refinements: The forms of refinement to show.
        together: All phi encoders in one setup; None if there is only one. Only the study of the
            recipe uses it, and the fields below.
        voting: Regions that vote, and how; None for none.
        memory: A region memory; None for none.
    """

    setups: tuple[Setup, ...]
    classes: tuple[ClassNames, ...]
    refinements: tuple[RefineForm, ...] = ("pamr",)
    together: Setup | None = None
    voting: Voting | None = None
    memory: RegionMemory | None = None

    def row(
        self,
        label: str,
        *,
        setup: Setup | None = None,
        classes: Sequence[ClassNames] | None = None,
        form: str | None = None,
        refine: RefineForm = "none",
        x: float | None = None,
        voting: Voting | None = None,
        memory: RegionMemory | None = None,
        **learn: Any,
    ) -> StudyRow:
        """A row of the baseline with changes.

        Args:
            label: Label of the row.
            setup: Archive and encoders. By default the first of the baseline.
            classes: The classes. By default those of the baseline.
            form: How scores are fused. By default as in the settings of the setup.
            refine: How scores are refined.
            x: x value in the plot; None if the study is plotted as bars.
            voting: Regions that vote, and how.
            memory: Region memory whose scores are added.
            **learn: Fields of `LearnSettings` to change.
        """
        setup = setup or self.setups[0]
        settings = setup.settings
        fusion = settings.segment.fusion
        return StudyRow(
            label,
            setup,
            tuple(classes or self.classes),
            replace(settings.learn, **learn),
            fusion if form is None else replace(fusion, form=form),  # type: ignore[arg-type]
            RefineSettings(refine, settings.segment.refine_temperature),
            x,
            voting,
            memory,
        )

    @property
    def learn(self) -> LearnSettings:
        """How classes are learnt if a study does not change it."""
        return self.setups[0].settings.learn


def components(base: Baseline) -> Study:
    """Each part of the method added to the ones before (paper, components table)."""
    plain: dict[str, Any] = {"guidance": False, "context": ()}
    rows = [
        base.row("phi alone", form="visual", **plain),
        base.row("dense text alone", form="text", **plain),
        base.row("fused", **plain),
        base.row("+ guidance", context=()),
        base.row("+ context", guidance=False),
        base.row("+ both"),
        *(base.row(f"+ both, {form}", refine=form) for form in base.refinements),
    ]
    return _study("components", "Each part of the method", rows)


def context(base: Baseline) -> Study:
    """One more context class eliminated in each row (supplement, Table 1 left)."""
    names = base.learn.context
    rows = []
    variants: list[tuple[str, dict[str, Any]]] = [
        ("", {"form": "visual", "guidance": False}),
        (", fused", {}),
    ]
    for title, changes in variants:
        for count in range(len(names) + 1):
            label = ", ".join(name.partition(":")[0] for name in names[:count]) or "none"
            rows.append(base.row(f"{label}{title}", context=names[:count], **changes))
    return _study("context", "Context categories; phi alone, then fused", rows)


def renaming(base: Baseline) -> Study:
    """Plain class names compared with the words given for them (supplement, Table 1 right)."""
    bare = [ClassNames(item.name, (item.name,)) for item in base.classes]
    renamed = [index for index, item in enumerate(base.classes) if item != bare[index]]
    rows = [base.row("names as they are", classes=bare)]
    if 1 < len(renamed) <= _RENAMED_ALONE:
        for index in renamed:
            one = [*bare[:index], base.classes[index], *bare[index + 1 :]]
            rows.append(base.row(base.classes[index].name, classes=one))
    if renamed:
        rows.append(base.row("all renamed"))
    return _study("renaming", "Names of classes as they are, and in better words", rows)


def encoders(base: Baseline) -> Study:
    """Archives and encoders compared (paper, figure 4; supplement, Table 2 left)."""
    rows = [base.row(setup.name, setup=setup) for setup in base.setups]
    return _study("encoders", "Encoders", rows)


def seeds(base: Baseline) -> Study:
    """Seed pixels per image (supplement, Table 2 right)."""
    rows = [base.row(str(count), seeds_per_image=count, x=count) for count in SEEDS]
    return _study("seeds", "Seed pixels per image", rows, "seed pixels per image")


def retrieved(base: Baseline) -> Study:
    """Retrieved images per class (paper, figure 4)."""
    rows = [base.row(str(count), k=count, x=count) for count in K]
    return _study("k", "Retrieved images per class", rows, "retrieved images per class")


def block(base: Baseline) -> Study:
    """The block slice of the published code compared with the one that the paper describes."""
    rows = [
        base.row("image (right)", block="image"),
        base.row("paper (as published)", block="paper"),
    ]
    return _study("block", "Block slice of the adjacency matrix", rows)


def recipe(base: Baseline) -> Study:
    """From the published recipe upwards, one idea more in each row; beside them, alternatives."""
    published: dict[str, Any] = {"regions": "", "mend_outliers": False}
    now = published | {"regions": "clusters"}
    rows = [
        base.row("phi alone", form="visual", **published),
        base.row("as published", **published),
        base.row("aside: outliers of phi mended", **published | {"mend_outliers": True}),
        base.row("+ regions in learning", **now),
    ]
    steps: list[tuple[str, dict[str, Any], str]] = [
        ("+ all phi in one bank", {"setup": base.together}, "a second phi (--phi)"),
        ("+ vote of regions", {"voting": base.voting}, "regions (--regions)"),
    ]
    fusion = (base.together or base.setups[0]).settings.segment.fusion
    if base.memory is not None and "memory" not in fusion_rule(fusion.form).on_grid:
        steps.append(("scores added, as a memory needs it", {"form": "sum"}, ""))
    steps.append(("+ memory", {"memory": base.memory}, "a region memory (--memory)"))
    notes = []
    for label, change, needed in steps:
        if None in change.values():
            notes.append(f"Left out: {label}. It needs {needed}.")
            continue
        now |= change
        rows.append(base.row(label, **now))
    rows.append(base.row("+ LPOSS", refine="lposs", **now))
    others: tuple[RefineForm, ...] = ("lposs+", *base.refinements)
    rows += [base.row(f"{form} instead of LPOSS", refine=form, **now) for form in others]
    made = _study("recipe", "The recipe, one idea more in each row", rows)
    return replace(made, notes=tuple(notes))


STUDIES: dict[str, Callable[[Baseline], Study]] = {
    "components": components,
    "context": context,
    "renaming": renaming,
    "encoders": encoders,
    "seeds": seeds,
    "k": retrieved,
    "block": block,
    "recipe": recipe,
}


def study(name: str, base: Baseline) -> Study:
    """Create a study by name.

    Raises:
        UnknownNameError: There is no such study; the error lists the valid names.
    """
    check_study(name)
    return STUDIES[name](base)


def check_study(name: str) -> None:
    """Refuse the name of a study that does not exist.

    Raises:
        UnknownNameError: There is no such study; the error lists the valid names.
    """
    if name not in (*STUDIES, "retrieval"):
        raise UnknownNameError("study", name, [*STUDIES, "retrieval", "all"])


def studies_named(names: Iterable[str]) -> list[str]:
    """The studies of some names, each once, where `all` stands for those of the paper's tables.

    Raises:
        UnknownNameError: There is no such study; the error lists the valid names.

    Example:
        >>> studies_named(["block", "all"])
        ['block', 'components', 'context', 'renaming', 'encoders', 'seeds', 'k']
    """
    paper = [name for name in STUDIES if name != "recipe"]
    found = list(dict.fromkeys(n for name in names for n in (paper if name == "all" else [name])))
    for name in found:
        check_study(name)
    return found


@cache
def published(name: str) -> dict[str, Any]:
    """The paper's results for a study: `on`, `finding` and `rows`; empty if there are none."""
    text = files("recoseg.experiments").joinpath("published.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text).get(name, {})
    return found


def _study(name: str, title: str, rows: Sequence[StudyRow], x_label: str | None = None) -> Study:
    paper = published(name)
    return Study(
        name,
        title,
        tuple(rows),
        x_label,
        tuple(Published(**row) for row in paper.get("rows", ())),
        paper.get("on", ""),
        paper.get("finding", ""),
    )
