"""generateContent, spoken by the Gemini API and, inside an envelope, by Code Assist."""
