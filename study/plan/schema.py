"""The keys of a sweep file, as pydantic models: the edge where YAML becomes typed. `load` gives them meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from study.plan.names import PATTERN

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Seeds = Annotated[list[Seed], Field(min_length=1)]
NonNegative = Annotated[float, Field(ge=0)]
Fields = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]  # `knn:` alone
MAX_NAME = 80  # characters; names become folders
Name = Annotated[str, Field(pattern=PATTERN, max_length=MAX_NAME)]


class _Strict(BaseModel):
    """Unknown keys and silent conversions are refused, and so are NaN and infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ComponentIn(_Strict):
    """A component: its name alone, or a mapping with its name and fields."""

    model_config = ConfigDict(extra="allow")
    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def fields_given(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class RangeIn(_Strict):
    """A range that a search samples from."""

    low: float
    high: float
    log: bool = False


class _OptimizerIn(_Strict):
    """What pre-training and continuation say alike of their optimiser."""

    name: Literal["adamw", "sgd", "lars", "larc"] = "adamw"
    weight_decay: NonNegative = 1e-4
    exclude_bias_and_norm: bool = False
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    trust_coefficient: Annotated[float, Field(gt=0)] = 1e-3


class PretrainingOptimizerIn(_OptimizerIn):
    """Optimiser of the base pre-training."""

    lr: Annotated[float, Field(gt=0)] = 1e-3
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 1


class ContinuationOptimizerIn(_OptimizerIn):
    """Optimiser of the continuation."""

    lr: Annotated[float, Field(gt=0)]
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    state: Literal["reset", "keep"] = "reset"


UNREAD_SETTINGS = {"adamw": ("momentum", "trust_coefficient"), "sgd": ("trust_coefficient",), "lars": (), "larc": ()}


class BaseIn(_Strict):
    """How the base models are made."""

    method: ComponentIn
    backbone: ComponentIn
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)] = 250
    optimizer: PretrainingOptimizerIn = PretrainingOptimizerIn()


class ImportedBaseIn(_Strict):
    """Which published checkpoint is the base model."""

    method: ComponentIn
    backbone: ComponentIn
    checkpoint: str
    family: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


_TRAINED = "<trained>"
IMPORTED = "<imported>"


def _kind_of_base(value: Any) -> str:
    keys = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else ()
    return IMPORTED if "checkpoint" in keys or "family" in keys else _TRAINED


Base = Annotated[
    Annotated[BaseIn, Tag(_TRAINED)] | Annotated[ImportedBaseIn, Tag(IMPORTED)], Discriminator(_kind_of_base)
]


class ContinuationIn(_Strict):
    """How they are continued."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)] = 250
    optimizer: ContinuationOptimizerIn


class GeneratedIn(_Strict):
    """What a frozen file says of an arm that a rule of `ablate` had generated."""

    from_: str = Field(alias="from")
    dropped: list[str] = []
    swapped: list[str] = []
    weights: Literal["tuned", "inherited"] = "tuned"


class ArmIn(_Strict):
    """One arm; keys other than these are fixed fields of its criterion."""

    model_config = ConfigDict(extra="allow")
    continue_: bool = Field(default=True, alias="continue")
    criterion: str | None = None
    preset: str | None = None
    strength: Annotated[float, Field(gt=0)] | None = None
    start: dict[str, float] = {}
    space: dict[str, RangeIn] | None = None
    generated: GeneratedIn | None = None


ALL = "all"  # instead of names


def _all_in_a_list(value: Any) -> Any:
    return [ALL] if value == ALL else value


class AblateIn(_Strict):
    """Arms generated from another arm: one component left out, added to nothing, or one field changed, at a time."""

    arm: str
    drop: Annotated[list[str], Field(min_length=1), BeforeValidator(_all_in_a_list)] = []
    add: Annotated[list[str], Field(min_length=1), BeforeValidator(_all_in_a_list)] = []
    swap: dict[str, Any] = {}
    weights: Literal["tuned", "inherited"] = "tuned"


_ONE, _MANY = "<one>", "<many>"
CHOICES = (_ONE, _MANY, _TRAINED, IMPORTED)  # stand in the locations of errors, though not in the file
Ablations = Annotated[
    Annotated[AblateIn, Tag(_ONE)] | Annotated[list[AblateIn], Tag(_MANY)],
    Discriminator(lambda value: _MANY if isinstance(value, list) else _ONE),
]


class TuneIn(_Strict):
    """The searches."""

    objective: str
    trials_per_arm: Annotated[int, Field(ge=1)]
    base_seeds: Seeds
    continuation_seeds: Seeds = [1]
    sampler: Literal["tpe", "random"] = "tpe"
    pruning: Literal["none", "median"] = "none"
    shared: dict[str, RangeIn] = {}
    overrides: Fields = {}


def _none_if_said(value: Any) -> Any:
    """`tune: none` says on purpose that nothing is searched; an empty `tune:` says nothing."""
    if value is None:
        raise ValueError("must be a mapping of keys to values")
    return None if value == "none" else value


class ConfirmIn(_Strict):
    """The fresh seeds of the comparison."""

    base_seeds: Seeds
    continuation_seeds: Seeds = [1]


class NumericsIn(_Strict):
    """What changes the bits of a result."""

    num_threads: Annotated[int, Field(ge=1, le=64)] = 1
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    deterministic: bool = True
    micro_batch_size: Annotated[int, Field(ge=2)] | None = None
    compile: bool = False

    def as_identity(self) -> dict[str, Any]:
        """What is hashed; what was added later is there only when it is used, so that older names stay."""
        return {key: value for key, value in self.model_dump().items() if key != "compile" or value}


class SweepIn(_Strict):
    """A sweep file."""

    study: Name
    blocks: dict[str, list[Any]] | list[dict[str, Any]] = {}
    design: Literal["full", "one_at_a_time"] = "full"
    question: str = ""
    dataset: ComponentIn
    augmentation: ComponentIn = ComponentIn(name="small_images")
    base: Base
    continuation: ContinuationIn
    arms: Annotated[dict[Name, ArmIn], Field(min_length=1)]
    ablate: Ablations = []
    reference: str
    unit: Literal["base", "continuation"] = "base"
    test: Literal["paired_t", "sign_flip"] = "paired_t"
    contrasts: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    evaluations: Annotated[dict[str, Fields], Field(min_length=1)]
    primary: str
    equivalence_margin_pp: Annotated[float, Field(gt=0)] | None = None
    tune: Annotated[TuneIn | None, BeforeValidator(_none_if_said)]
    confirm: ConfirmIn
    numerics: NumericsIn = NumericsIn()
