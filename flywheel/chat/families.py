"""The model families a workflow can name as `model_family`, one record each: what differs between them and nothing else.

A record says which template renders the family, how vLLM reads its calls back, where its turns end, what its attention allows the
trainer to pack, and what is known to go wrong. No torch here. Names and keys of the serving side are those of vLLM 0.32.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from flywheel.errors import FlywheelError

TEMPLATES = Path(__file__).parent / "templates"
PHI4_MINI_PARSER = Path(__file__).parent.parent / "serving" / "phi4_mini_tool_parser.py"

FamilyName = Literal["chatml_hermes", "qwen3_5", "phi4_mini", "smollm3", "gemma4", "mistral"]
# full: every layer sees the whole context. sliding: some layers see a window of it. linear: some layers carry a state along the row.
Attention = Literal["full", "sliding", "linear"]

NEVER_AT_FULL_SIZE = "never; only a tiny model of its real configuration class, on CPU"


@dataclass(frozen=True)
class Profile:
    """Where the weekly adapter of a family starts; the pack's `training` overrides what it names.

    `target_modules` is PEFT's: a regular expression where towers for images and sound must be left out.
    """

    lora_rank: int = 16
    lora_alpha: int = 32
    sft_learning_rate: float = 2e-4
    dpo_learning_rate: float = 1e-5
    gradient_checkpointing: bool = True
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    target_modules: str = "all-linear"


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        models: Hugging Face names the record is written for.
        tiny_model: its tiny random model, made by `flywheel model add NAME`.
        template_sha256: pin of the template file; a test holds the two together.
        call_format: how a call is written, in words.
        tool_parser: vLLM's `--tool-call-parser`.
        tool_parser_plugin: file that registers it, where vLLM's own loses calls.
        tokenizer_mode: vLLM's `--tokenizer-mode`.
        end_of_turn: tokens an assistant turn can end with; the model's generation_config.json must list each as an end.
        special_tokens: tokens of the template and the parser that the tokenizer must know as one token each.
        architecture: class vLLM serves the published checkpoint with.
        adapter_key_renames: (prefix in PEFT's file, prefix the serving architecture knows); without them vLLM applies nothing.
        attention: what the layers see; rows of a `linear` model cannot share tokens (`flywheel/training/packing.py` asks the
            model's own configuration).
        full_size_runs: where the real weights were trained and served by us.
        cpu_serving: None when vLLM starts with the architecture on our CPU installation, else its own words for why it does not.
        traps: what is known to go wrong, for the README and for who reads a red check.
    """

    name: FamilyName
    models: tuple[str, ...]
    tiny_model: str
    template_sha256: str
    call_format: str
    tool_parser: str
    end_of_turn: tuple[str, ...]
    special_tokens: tuple[str, ...]
    architecture: str
    attention: Attention
    traps: tuple[str, ...]
    tool_parser_plugin: Path | None = None
    tokenizer_mode: Literal["auto", "hf"] = "auto"
    adapter_key_renames: tuple[tuple[str, str], ...] = ()
    profile: Profile = field(default_factory=Profile)
    full_size_runs: str = NEVER_AT_FULL_SIZE
    cpu_serving: str | None = None

    @property
    def template_file(self) -> Path:
        """The Jinja template, for training and for serving."""
        return TEMPLATES / f"{self.name}.jinja"

    def check_template(self) -> None:
        """Raise FlywheelError when the template file is not the pinned one."""
        found = hashlib.sha256(self.template_file.read_bytes()).hexdigest()
        if found != self.template_sha256:
            raise FlywheelError(
                f"the template of {self.name} changed: adapters trained with the old one would read other prompts than they know",
                where=str(self.template_file),
                remedy=f"undo the change; or, if it is meant, set template_sha256 of {self.name} in flywheel/chat/families.py to "
                f"{found}, and train anew before anything is promoted",
            )


_HERMES = '<tool_call>{"name": …, "arguments": {…}}</tool_call>'
_PROJECTIONS = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
_CHATML = ("<|im_start|>", "<|im_end|>")

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="chatml_hermes",
            models=("HuggingFaceTB/SmolLM2-135M-Instruct",),
            tiny_model="tiny-random",
            template_sha256="9b3f543a3562d7df445525e68d850f5e337741564ac24f47bf634f825d9ec96d",
            call_format=_HERMES,
            tool_parser="hermes",
            end_of_turn=("<|im_end|>",),
            special_tokens=_CHATML,
            architecture="LlamaForCausalLM",
            attention="full",
            profile=Profile(sft_learning_rate=1e-3, dpo_learning_rate=2e-5, gradient_checkpointing=False),
            full_size_runs="SmolLM2-135M, trained and served on CPU; never on a GPU",
            traps=(
                "its own template shows neither tools nor calls, without an error",
                "the parser takes a call that was never closed for a call: look at finish_reason",
            ),
        ),
        Family(
            name="qwen3_5",
            models=("Qwen/Qwen3.5-4B",),
            tiny_model="tiny-qwen3.5",
            template_sha256="e64c0c1c362e4b5daf914d93cafc530512e4e25431813ec43e0a4fbfb98d5e0a",
            call_format="<tool_call><function=NAME><parameter=KEY>value</parameter></function></tool_call>",
            tool_parser="qwen3_xml",
            end_of_turn=("<|im_end|>",),
            special_tokens=(*_CHATML, "<think>", "</think>", "<tool_call>", "</tool_call>"),
            architecture="Qwen3_5ForConditionalGeneration",
            adapter_key_renames=(("model.", "model.language_model."),),
            attention="linear",
            cpu_serving="No module named 'torchvision'",
            traps=(
                "vLLM's module for it imports torchvision, which the CPU installation leaves out: it is trained there, but not served",
                "without fla and causal_conv1d, linear attention leaks from one packed row into the next",
                "values are plain text, typed by the tool's schema: the string \"null\" of a nullable string comes back as null, a "
                "parameter without a type as a string, and </parameter> or </function> inside a string cuts it",
                "its own template drops the empty think block from history once the user speaks again",
                "an adapter trained on the text model changes nothing in vLLM unless its keys are renamed",
            ),
        ),
        Family(
            name="phi4_mini",
            models=("microsoft/Phi-4-mini-instruct",),
            tiny_model="tiny-phi-4-mini",
            template_sha256="7e0b8267c65789fc578c8829d151b323bc8cf6a35b04ccfbc6a24cdb86e3e6fa",
            call_format='functools[{"name": …, "arguments": {…}}, …]',
            tool_parser="flywheel_phi4_mini",
            tool_parser_plugin=PHI4_MINI_PARSER,
            end_of_turn=("<|end|>",),
            special_tokens=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|tool|>", "<|/tool|>"),
            architecture="Phi3ForCausalLM",
            # Its configuration names a window of 262,144 tokens, twice its longest context: it never cuts anything.
            attention="full",
            traps=(
                "vLLM's phi4_mini_json loses every call whose arguments hold an array; our plugin takes its place",
                "its own template reads tools only as a string in the system message, and drops calls",
                "vLLM has no grammar for this format: `required` forces a JSON list that was never trained",
            ),
        ),
        Family(
            name="smollm3",
            models=("HuggingFaceTB/SmolLM3-3B",),
            tiny_model="tiny-smollm3",
            template_sha256="f308e5d983ac5cd38f352c8a65e648bee4ec0d8409e3b322a81c8e8cc3d3dbcb",
            call_format=_HERMES,
            tool_parser="hermes",
            end_of_turn=("<|im_end|>",),
            special_tokens=_CHATML,
            architecture="SmolLM3ForCausalLM",
            attention="full",
            traps=(
                "its own template wants `xml_tools`, ignores `tools`, drops calls, and prints today's date",
                "no date is printed here: an agent that needs one says it in its system prompt",
                "vLLM serves it through its transformers backend",
            ),
        ),
        Family(
            name="gemma4",
            models=("google/gemma-4-E2B-it",),
            tiny_model="tiny-gemma-4",
            template_sha256="3b56ffe5f4d194b8d1bea2cd943bf0b61cc224afa3a0338931e81aeb49464f8f",
            call_format='<|tool_call>call:NAME{key:<|"|>value<|"|>,…}<tool_call|>',
            tool_parser="gemma4",
            end_of_turn=("<turn|>", "<|tool_response>"),
            special_tokens=("<bos>", "<eos>", "<|turn>", "<turn|>", "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
                            "<tool_response|>", "<|channel>", "<channel|>", '<|"|>'),
            architecture="Gemma4ForConditionalGeneration",
            attention="sliding",
            profile=Profile(target_modules=rf"(?!.*(vision|audio)).*\.({_PROJECTIONS})"),
            traps=(
                "five revisions of its template so far: pin the model's revision, and serve with this template",
                "a turn with calls ends with <|tool_response>, not with <turn|>",
                "bare values are typed by the tool's schema: numbers inside an object without declared properties come back as strings",
                "declarations show type, description, enum, items, properties and required; patterns and limits are not shown",
                "PEFT cannot wrap the linear layers of its image and sound towers: they are left out",
                "where content goes through a macro with a loop, vLLM hands the template lists of parts instead of text",
            ),
        ),
        Family(
            name="mistral",
            models=("mistralai/Mistral-7B-Instruct-v0.3",),
            tiny_model="tiny-mistral",
            template_sha256="ed39b02c2af9511092ac02681ce346b54c56da2db0f8177cd5c3822d64c0d238",
            call_format='[TOOL_CALLS] [{"name": …, "arguments": {…}, "id": …}]',
            tool_parser="mistral",
            tokenizer_mode="hf",
            end_of_turn=("</s>",),
            special_tokens=("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
                            "[/TOOL_RESULTS]"),
            architecture="MistralForCausalLM",
            attention="full",
            traps=(
                "vLLM's tokenizer mode `auto` switches to mistral_common and ignores the template: it is served with `hf`",
                "its own template moves tools and system prompt to the last user message, so every turn rewrites history",
                "version 0.1 has a sliding window; this record is for 0.3, which has none",
            ),
        ),
    )
}  # fmt: skip
assert set(FAMILIES) == set(get_args(FamilyName))


def find_family(name: str) -> Family:
    """The record of that name; raises FlywheelError naming the known ones."""
    if name not in FAMILIES:
        raise FlywheelError(f"there is no model family {name!r}", where="workflow.yaml: model_family",
                            remedy=f"set model_family to one of: {', '.join(FAMILIES)}")  # fmt: skip
    return FAMILIES[name]
