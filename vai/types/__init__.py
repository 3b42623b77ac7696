"""The canonical wire model: request, content blocks, tools, message, stream events, usage."""
