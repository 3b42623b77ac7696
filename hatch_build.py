"""Has hatchling compile the fast path of the limits into a wheel, where there is a C compiler."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FastPathHook(BuildHookInterface):  # type: ignore[misc, type-arg]
    """Adds the compiled module to the wheel, whose tag then names the system."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, self.root)
        from tools.compile_fast_path import (  # noqa: PLC0415 - found in the source tree alone
            CannotCompileError,
            compile_fast_path,
        )

        try:
            built = compile_fast_path(Path(self.root))
        except CannotCompileError as reason:
            self.app.display_warning(f"without the compiled fast path of the limits: {reason}")
            return
        build_data["artifacts"].append(built.relative_to(self.root).as_posix())
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
