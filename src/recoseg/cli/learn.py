"""`recoseg learn`: learn a concept bank from class names and an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.executor_options import (
    ExecutorName,
    RayAddress,
    RayCpus,
    RayGpus,
    RayWorkers,
    executor_of,
)
from recoseg.cli.options import (
    CacheFolder,
    CacheSize,
    Device,
    Phi,
    Precision,
    PresetName,
    Prompts,
    Recipe,
    Retrieval,
    Saliency,
    SelectionFile,
    SkipDuplicates,
    names_in,
)
from recoseg.cli.output import say
from recoseg.cli.prompt_table import say_prompts
from recoseg.cli.selected import selected
from recoseg.cli.verdicts import say_verdicts
from recoseg.errors import RecosegError

if TYPE_CHECKING:
    from recoseg.learning.one_class import LearnedClass


def learn(
    index: Annotated[str, typer.Argument(help="Folder of the index, or its URL.")],
    classes: Annotated[
        str,
        typer.Option(
            help="File with one class per line: a name, or 'NAME: WORD; WORD; -WORD' with the "
            "words to search for and, after a -, words to avoid. Or the classes themselves, with "
            "commas between them: 'dog, cat'. Or the name of a data set, such as cityscapes27; see "
            "`recoseg datasets`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Concept bank to write, a .safetensors file.")],
    add_to: Annotated[
        Path | None,
        typer.Option(
            help="Existing bank to add the classes to, as a file or as its address on the Hub; its "
            "encoders, context and settings are used."
        ),
    ] = None,
    relearn: Annotated[
        bool,
        typer.Option(
            "--relearn",
            help="Learn classes again that the bank of --add-to has.",
        ),
    ] = False,
    reject: Annotated[
        list[str] | None,
        typer.Option(
            help="Photo of the index to learn nothing from, by its path or the end of its path; "
            "repeat the option for several photos."
        ),
    ] = None,
    seed_at: Annotated[
        list[str] | None,
        typer.Option(
            help="With --relearn: a seed to use instead of the one that was found, as PHOTO:X,Y in "
            "pixels of the photo. PHOTO:found goes back to the one that was found. Repeat the "
            "option for several seeds."
        ),
    ] = None,
    drop_seed: Annotated[
        list[str] | None,
        typer.Option(
            help="With --relearn: a photo that gives no seed; repeat the option for several photos."
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for a co-segmentation figure of each class.")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the bank, and the figures that an earlier run has drawn; with --add-to "
            "other classes keep theirs.",
        ),
    ] = False,
    aliases: Annotated[
        bool,
        typer.Option(help="Also use the aliases and background words of the data set's classes."),
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Region memory to record in the bank, with which photos are to be segmented: a "
            "folder, URL or address on the Hub."
        ),
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option(
            help="Also learn a prompt for this decoder for each class, from the class's photos: "
            "sam3, or sam3=FOLDER with the files of the model."
        ),
    ] = None,
    support: Annotated[
        Path | None,
        typer.Option(
            help="With --decoder: a folder of photos with masks of your own, images/NAME.jpg and "
            "masks/CLASS/NAME.png, to learn the prompts from. Classes without masks are learnt "
            "from the index."
        ),
    ] = None,
    recipe: Recipe = None,
    preset: PresetName = None,
    retrieval: Retrieval = None,
    saliency: Saliency = None,
    phi: Phi = None,
    k: Annotated[
        str | None,
        typer.Option(
            "-k",
            help="Number of retrieved photos per class. With auto, the photos that stand out, from "
            "20 to 50, or 50 if hardly any stands out. By default 50.",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Side of the centre crop of a photo, pixels. By default 224."),
    ] = None,
    prompts: Prompts = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds per photo. By default 1.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="How seeds become the reference of a class: mean, normalised-mean, rank-weighted "
            "or winner. By default mean."
        ),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(
            help="How matches are counted when seeds are found: image (each photo once, the "
            "default), or paper (as in the published pseudo-code, which has an error)."
        ),
    ] = None,
    guidance: Annotated[
        bool | None,
        typer.Option(
            "--guidance/--no-guidance",
            help="Weight patches by their similarity to the text of the class. By default on.",
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            help="Context classes, whose patches the other classes avoid, with commas between "
            "them, such as 'sky, tree: tree; forest'; or none. By default those of the paper: "
            "tree, sky, building, road, person."
        ),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(
            help="Learn from the region that a seed lies in instead of the seed alone: clusters, "
            "or clusters:N for N regions per photo; none for the seed alone. By default as the "
            "recipe says."
        ),
    ] = None,
    mend: Annotated[
        bool | None,
        typer.Option(
            "--mend/--no-mend",
            help="Replace outlier patches of phi before seeds are found. This helps supervised "
            "ViTs with --no-guidance. By default off.",
        ),
    ] = None,
    selection: SelectionFile = None,
    skip_duplicates: SkipDuplicates = None,
    cache: CacheFolder = None,
    cache_size: CacheSize = 10.0,
    device: Device = "auto",
    precision: Precision = "auto",
    executor: ExecutorName = "local",
    ray_address: RayAddress = "local",
    ray_workers: RayWorkers = None,
    ray_cpus: RayCpus = 1,
    ray_gpus: RayGpus = 0,
) -> None:
    """Learn classes from their names and write a concept bank.

    For each class, photos are retrieved from the index, and the patches that they have in common
    are found. A table says how well the archive shows each class.
    """
    from recoseg.pipeline.learn import learn as run
    from recoseg.pipeline.relearn import read_seeds

    learnt: list[LearnedClass] = []
    bank = run(
        selected(index, selection),
        classes,
        out=out,
        add_to=add_to,
        relearn=relearn,
        reject=reject or (),
        seeds=read_seeds(seed_at or (), drop_seed or ()),
        recipe=recipe,
        preset=preset,
        retrieval=retrieval,
        saliency=saliency,
        phi=phi,
        aliases=aliases,
        memory=memory,
        decoder=decoder,
        support=support,
        figures=figures,
        overwrite=overwrite,
        cache=cache,
        cache_gigabytes=cache_size,
        executor=executor_of(executor, ray_address, ray_workers, ray_cpus, ray_gpus),
        device=device,
        precision=precision,
        progress=None,
        k=_number_or_auto(k),
        image_size=image_size,
        prompts=prompts,
        seeds_per_image=seeds,
        reference=reference,
        block=block,
        guidance=guidance,
        context=None if context is None else _context(context),
        skip_duplicates=skip_duplicates,
        regions=regions,
        mend_outliers=mend,
        callback=learnt.append,
    )
    say_verdicts(item.concept for item in learnt)
    names = {item.concept.name for item in learnt}
    say_prompts(concept for concept in bank.classes if concept.name in names)
    say(f"Concept bank: {out} (classes: {len(bank.classes)})")
    if figures is not None:
        say(f"Figures: {figures}")


def _number_or_auto(text: str | None) -> int | str | None:
    from recoseg.pipeline.learn_settings import AUTO

    if text is None or text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise RecosegError(
            f"-k is {text!r}; expected a number of photos, such as 50, or {AUTO}."
        ) from None


def _context(text: str) -> tuple[str, ...]:
    return () if text.strip() == "none" else tuple(names_in(text))
