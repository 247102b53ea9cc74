"""What the names of files and folders tell: contrast, split, patient.

Names are taken apart at everything that is no letter or digit; `IXI012-HH-1211-T1` has four parts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from engine.types import Split

CONTRASTS = {
    "T1": "t1 t1w t1n t1weighted t1pre mprage mp2rage spgr bravo",
    "T1c": "t1c t1ce t1cw t1gd t1post t1km t1wce",
    "T2": "t2 t2w t2weighted",
    "FLAIR": "flair t2f t2flair darkfluid",
    "PD": "pd pdw pdweighted",
    "PDFS": "pdfs",
    "T2*": "t2star t2s swi",
    "DWI": "dwi dti adc",
    "MRA": "mra tof",
}
_CONTRAST = {word: contrast for contrast, words in CONTRASTS.items() for word in words.split()}
_FIRST = ("FLAIR", "T1c", "PDFS", "T2*", "T1", "T2", "PD")  # of several words that belong together, which counts
_PLANE = re.compile(r"^(ax|axial|tra|cor|sag)(?=[a-z])")
_SPLITS: tuple[tuple[Split, str], ...] = (("train", "train(ing)?"), ("val", "val(id(ation)?)?"), ("test", "test(ing)?"))
_AROUND = r"((knee|brain|prostate)_)?((single|multi)coil_)?{}(_v\d+|_full|_batch_\d+)?"
_SESSION = re.compile(
    r"(?<![a-z0-9])(ses-[a-z0-9]+|(session|study|visit|v|tp|timepoint|scan|run)[-_]?\d+|scan)(?![a-z0-9])",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(?<![a-z0-9])(study|scan)[-_]?\d+(?![a-z0-9])", re.IGNORECASE)
_LABEL = re.compile(
    r"((lesion)?seg|(manual)?segmentation|(brain)?mask|msk|labels?|lesions?|roi|gt|consensus|dseg|probseg)\d?",
    re.IGNORECASE,
)
_DULL = re.compile(r"(anat|nii|nifti|images?|raw|data|dicom|derivatives|preprocessed|mri|mr)")
_IDS = (  # patients of known collections; what follows is hospital, scan or time point
    re.compile(r"(IXI\d+)-"),
    re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d+"),
    re.compile(r"(sub-[A-Za-z0-9]+)"),
)


def contrast_of(text: str) -> str:
    """The contrast that a name tells, or a protocol (`AXT1POST`, `t2_tirm_tra_dark-fluid`): empty if none does."""
    return _contrast([_word(part) for part in _parts(text)])[0]


def contrast_of_path(path: Path, root: Path) -> str:
    """Of a file's name, or of the next folder, up to and with root, whose name tells one."""
    names = [stem(path), *reversed([root.absolute().name, *_folders(path, root)])]
    return next(filter(None, map(contrast_of, names)), "")


def split_of(path: Path, root: Path) -> Split | None:
    """The split that the nearest folder below root stands for: `train`, `multicoil_val`, `singlecoil_test_v2`, …"""
    for folder in reversed(_folders(path, root)):
        for split, word in _SPLITS:
            if re.fullmatch(_AROUND.format(word), folder.lower()):
                return split
    return None


def stem(path: Path) -> str:
    """The name without its ending; `.nii.gz` is one."""
    return re.sub(r"\.gz$", "", path.name, flags=re.IGNORECASE).rsplit(".", 1)[0]


def safe(name: str) -> str:
    """Fit to be a file's name, and never empty."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "unnamed"


def patients_of(paths: Sequence[Path], root: Path) -> list[str]:
    """Whose file each is, in the order of the paths: what the name says beside contrast and session.

    If it says nothing, the folder's: the next above that is not named for a contrast, a split or a session. If files
    of several folders have the same name and contrast, both. All of a patient's sessions belong to one patient; but
    several studies or scans of one contrast, numbered side by side where no folder is a patient's, are of several.
    """
    own = _numbered(paths, [_patient(stem(path)) for path in paths], root)
    places: dict[tuple[str, str], set[Path]] = {}
    for path, name in zip(paths, own, strict=True):
        places.setdefault((name, contrast_of_path(path, root)), set()).add(path.parent)
    shared = {name for (name, _), folders in places.items() if len(folders) > 1 or not name}
    return [safe(_within(folder_patient(p, root), n) if n in shared else n) for p, n in zip(paths, own, strict=True)]


def _numbered(paths: Sequence[Path], own: list[str], root: Path) -> list[str]:
    """Names with `study3`, `scan3` for those that have no other, if these tell patients apart."""
    nameless = [index for index, name in enumerate(own) if not name]
    numbers = {index: found[0] for index in nameless if (found := _NUMBERED.search(stem(paths[index])))}
    groups: dict[tuple[Path, str], set[str]] = {}
    for index, number in numbers.items():
        groups.setdefault((paths[index].parent, contrast_of_path(paths[index], root)), set()).add(number)
    one_folder = len({folder_patient(paths[index], root) for index in nameless}) == 1
    if not one_folder or all(len(group) == 1 for group in groups.values()):
        return own
    return [numbers.get(index, name) for index, name in enumerate(own)]


def is_label(path: Path) -> bool:
    """Whether a file is named as a segmentation or a mask: after the contrast or right before it, or else at the end.

    `p1_T1_seg`, `p1_mask2`, `lesion-T1`; but not `lesion_study_p1_T1`, nor the patient `sub-GT01`.
    """
    parts = _parts(re.sub(r"^sub-[A-Za-z0-9]+", "", stem(path)))
    _, where = _contrast([_word(part) for part in parts])
    rest = [part for index, part in enumerate(parts) if index not in where]
    after = [*rest[max(0, where.start - 1) :]] if where else [part for part in rest if not part.isdigit()][-2:]
    return any(_LABEL.fullmatch(part) for part in after)


def _within(folder: str, name: str) -> str:
    return folder if name in folder else f"{folder}_{name}" if folder else name


def _patient(stem: str) -> str:
    """The stem without what tells contrast and session; empty if nothing is left."""
    for known in _IDS:
        if match := known.match(stem):
            return match[1]
    parts = _parts(_SESSION.sub(" ", stem))
    _, where = _contrast([_word(part) for part in parts])
    kept = [part for index, part in enumerate(parts) if index not in where]
    return "_".join(kept) if len(kept) < len(_parts(stem)) else stem


def folder_patient(path: Path, root: Path) -> str:
    """The next folder above, up to and with root, that may be a patient's; empty if none."""
    for folder in reversed([root.absolute().name, *_folders(path, root)]):
        told = _patient(folder)
        dull = split_of(root / folder / "x", root) is not None or _DULL.fullmatch(folder.lower())
        if told and not dull:
            return told
    return ""


def _folders(path: Path, root: Path) -> tuple[str, ...]:
    return path.relative_to(root).parts[:-1]


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[^A-Za-z0-9*]+", text) if part]


def _word(part: str) -> str:
    """A part as `CONTRASTS` has it, if it does: `AXT1POST` is t1post."""
    word = part.lower()
    return word if word in _CONTRAST else _PLANE.sub("", word)


def _contrast(words: Sequence[str]) -> tuple[str, range]:
    """The contrast and where it stands: the last words that tell one (`t2`, `flair`: FLAIR), and `post`, `gd` after."""
    last = max((i for i, word in enumerate(words) if word in _CONTRAST), default=-1)
    if last < 0:
        return "", range(0)
    first = last
    while first and words[first - 1] in _CONTRAST:
        first -= 1
    found = {_CONTRAST[word] for word in words[first : last + 1]}
    contrast = next((c for c in _FIRST if c in found), _CONTRAST[words[last]])
    tail = words[last + 1 : last + 2]
    if contrast == "T1" and tail and tail[0] in ("post", "gd", "ce", "contrast", "kontrast"):
        return "T1c", range(first, last + 2)
    if contrast == "T2" and words[last + 1 :] and {"dark", "fluid"} <= set(words[last + 1 :]):
        return "FLAIR", range(first, len(words))
    return contrast, range(first, last + 1)
