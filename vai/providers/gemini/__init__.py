"""generateContent, as the Gemini API has it and, inside a wrapper, Code Assist."""
