"""The messages of a generateContent request, and which members each one has.

Invariants: proto-JSON. A member is known by its camelCase or its snake_case
name and comes out in camelCase; any other name is refused with the place where it stood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from vai.simulator.ask import Refused

__all__ = ["shaped"]


def _shape(text: str) -> dict[str, str]:
    """``"a b:Kind"``: a plain member `a`, and `b` whose value or values are of `Kind`."""
    return {name: kind for name, _, kind in (word.partition(":") for word in text.split())}


_SHAPES: Final[Mapping[str, Mapping[str, str]]] = {
    "Request": _shape(
        "model contents:Content systemInstruction:Content tools:Tool toolConfig:ToolConfig"
        " safetySettings:Safety cachedContent labels serviceTier store continuationToken"
        " generationConfig:Config"
    ),
    "Inner": _shape(
        "contents:Content systemInstruction:Content tools:Tool toolConfig:ToolConfig labels"
        " safetySettings:Safety cachedContent generationConfig:Config sessionId"
    ),
    "Wrapper": _shape("model project userPromptId enabledCreditTypes request:Inner"),
    "Count": _shape("contents:Content generateContentRequest:Request"),
    "CountWrapper": _shape("request:CountInner"),
    "CountInner": _shape("model contents:Content"),
    "Content": _shape("role parts:Part"),
    "Part": _shape(
        "text thought thoughtSignature inlineData:Blob fileData:File functionCall:Call"
        " functionResponse:Response executableCode:Code codeExecutionResult:Result toolCall:Hosted"
        " toolResponse:HostedResult videoMetadata mediaResolution partMetadata"
    ),
    "Blob": _shape("mimeType data displayName"),
    "File": _shape("mimeType fileUri displayName"),
    "Call": _shape("id name args"),
    "Response": _shape("id name response parts:Part willContinue scheduling"),
    "Code": _shape("id language code"),
    "Result": _shape("id outcome output"),
    "Hosted": _shape("id toolType args"),
    "HostedResult": _shape("id toolType response"),
    "Tool": _shape(
        "functionDeclarations:Function googleSearch:Search urlContext:Nothing"
        " codeExecution:Nothing fileSearch:FileSearch computerUse:Computer googleMaps mcpServers"
        " googleSearchRetrieval"
    ),
    "Function": _shape(
        "name description parameters:Schema parametersJsonSchema response:Schema"
        " responseJsonSchema behavior"
    ),
    "Search": _shape("timeRangeFilter searchTypes"),
    "Nothing": {},
    "FileSearch": _shape("fileSearchStoreNames topK metadataFilter"),
    "Computer": _shape("environment excludedPredefinedFunctions"),
    "Schema": _shape(
        "type format title description nullable default enum items:Schema maxItems minItems"
        " properties:{Schema} required maxProperties minProperties minimum maximum minLength"
        " maxLength pattern example anyOf:Schema propertyOrdering additionalProperties ref"
        " defs:{Schema}"
    ),
    "ToolConfig": _shape(
        "functionCallingConfig:Calling includeServerSideToolInvocations retrievalConfig"
    ),
    "Calling": _shape("mode allowedFunctionNames"),
    "Safety": _shape("category threshold"),
    "Config": _shape(
        "temperature topP topK candidateCount maxOutputTokens stopSequences seed presencePenalty"
        " frequencyPenalty responseLogprobs logprobs responseMimeType responseSchema:Schema"
        " responseJsonSchema responseModalities mediaResolution speechConfig"
        " thinkingConfig:Thinking imageConfig:Image audioTranscriptionConfig"
        " enableEnhancedCivicAnswers"
    ),
    "Thinking": _shape("includeThoughts thinkingBudget thinkingLevel"),
    "Image": _shape("aspectRatio imageSize"),
}
_SNAKE: Final = re.compile(r"_([a-z])")


def shaped(value: Any, kind: str, where: str = "") -> Any:
    """`value` with every member name in camelCase.

    Raises:
        Refused: 400, a member nobody knows.
    """
    if not kind:
        return value
    if isinstance(value, list):
        return [shaped(one, kind, f"{where}[{at}]") for at, one in enumerate(value)]
    if not isinstance(value, dict):
        words = f"Invalid value at '{where}': Starting an object on a scalar field"
        raise Refused(400, f"Invalid JSON payload received. {words}")
    if kind.startswith("{"):
        return {name: shaped(one, kind[1:-1], f"{where}.{name}") for name, one in value.items()}
    known = _SHAPES[kind]
    found: dict[str, Any] = {}
    for name, one in value.items():
        camel = _SNAKE.sub(lambda letter: letter[1].upper(), name)
        if camel not in known:
            place = f" at '{where}'" if where else ""
            words = f'Invalid JSON payload received. Unknown name "{name}"{place}: '
            raise Refused(400, words + "Cannot find field.")
        if one is not None:
            found[camel] = shaped(one, known[camel], f"{where}.{name}".lstrip("."))
    return found
