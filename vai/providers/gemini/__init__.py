"""generateContent, as the Gemini API speaks it and, inside a wrapper, Code Assist."""
