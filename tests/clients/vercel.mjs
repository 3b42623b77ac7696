// Vercel's AI SDK with its Anthropic provider against every provider; see test_vercel.py.

import { createAnthropic } from '@ai-sdk/anthropic';
import { generateText, isStepCount, Output, streamText, tool } from 'ai';
import { z } from 'zod';

import { abortOnArrival, report, task } from './checks.mjs';

const vai = createAnthropic({ baseURL: `${task.url}/v1`, apiKey: task.key });
const thinking = { anthropic: { thinking: { type: 'enabled', budgetTokens: 2048 } } };
globalThis.AI_SDK_LOG_WARNINGS = false; // such as: an unknown model has 4096 tokens

function weather() {
  const asked = [];
  const get_weather = tool({
    description: 'The weather of a city.',
    inputSchema: z.object({ city: z.string() }),
    execute: (input) => {
      asked.push(input);
      return `fine, ${asked.length}`;
    },
  });
  return { asked, tools: { get_weather } };
}

const brief = (result) => ({
  text: result.text,
  reasoning: result.reasoningText ?? '',
  finish: result.finishReason,
  usage: result.usage,
  steps: result.steps.length,
});

async function streamed(ask) {
  const result = streamText({ maxRetries: 0, onError: () => {}, ...ask });
  const kinds = [];
  const errors = [];
  for await (const part of result.stream) {
    if (kinds.at(-1) !== part.type) kinds.push(part.type);
    if (part.type === 'error') errors.push(part.error);
  }
  return { result, kinds, errors };
}

async function whole(result) {
  const [text, reasoningText, finishReason, usage, steps] = await Promise.all([
    result.text, result.reasoningText, result.finishReason, result.totalUsage, result.steps,
  ]);
  return brief({ text, reasoningText, finishReason, usage, steps });
}

const told = (error) => ({
  kind: error?.name,
  status: error?.statusCode,
  retryable: error?.isRetryable,
  message: error?.message,
});

async function failure(ask) {
  try {
    await ask();
  } catch (error) {
    return told(error);
  }
  return { kind: null };
}

await report({
  text: async (name) =>
    brief(await generateText({ model: vai(name), prompt: 'Hello', maxOutputTokens: 200 })),

  stream: async (name) => {
    const { result, kinds, errors } = await streamed({ model: vai(name), prompt: 'Hello', maxOutputTokens: 200 });
    return { ...(await whole(result)), kinds, errors };
  },

  tools: async (name) => {
    const { asked, tools } = weather();
    const ask = { model: vai(name), prompt: 'Call get_weather for Oslo.', tools, stopWhen: isStepCount(4) };
    return { ...brief(await generateText(ask)), asked };
  },

  tools_streamed: async (name) => {
    const { asked, tools } = weather();
    const ask = {
      model: vai(name), prompt: 'Call get_weather for Oslo.', tools, stopWhen: isStepCount(4),
      providerOptions: thinking, maxOutputTokens: 4000,
    };
    const { result, kinds, errors } = await streamed(ask);
    return { ...(await whole(result)), asked, kinds, errors };
  },

  reasoning: async (name) => {
    const ask = { model: vai(name), providerOptions: thinking, maxOutputTokens: 4000 };
    const messages = [{ role: 'user', content: 'Hello' }];
    const first = await generateText({ ...ask, messages });
    messages.push(...first.response.messages, { role: 'user', content: 'And now?' });
    const { result, kinds, errors } = await streamed({ ...ask, messages });
    return { ...brief(first), second: { ...(await whole(result)), kinds, errors } };
  },

  images: async (name) => {
    const content = [
      { type: 'text', text: 'What is this?' },
      { type: 'file', mediaType: 'image/png', data: task.picture },
    ];
    return brief(await generateText({ model: vai(name), messages: [{ role: 'user', content }] }));
  },

  object: async (name) => {
    const schema = z.object({ city: z.string(), days: z.number() });
    const result = await generateText({ model: vai(name), prompt: 'Hello', output: Output.object({ schema }) });
    return { ...brief(result), output: result.output };
  },

  errors: async (name) => {
    const found = {};
    for (const status of [400, 404, 413, 429, 500, 529]) {
      const ask = { model: vai(`${name};status=${status}`), prompt: 'Hello', maxRetries: 0 };
      found[status] = await failure(() => generateText(ask));
      found[`${status} stream`] = told((await streamed(ask)).errors[0]);
    }
    return found;
  },

  error_in_stream: async (name) => {
    const { kinds, errors } = await streamed({ model: vai(`${name};error_at=3`), prompt: 'Hello' });
    return { kinds, error: told(errors[0]) };
  },

  wrong_key: async (name) => {
    const stranger = createAnthropic({ baseURL: `${task.url}/v1`, apiKey: 'sk-wrong' });
    return failure(() => generateText({ model: stranger(name), prompt: 'Hello' }));
  },

  abort: async (name) => {
    const control = new AbortController();
    const result = streamText({
      model: vai(`${name};tps=40;tokens=4001`), prompt: 'Hello', abortSignal: control.signal,
      maxOutputTokens: 4001, maxRetries: 0, onError: () => {},
    });
    const kinds = [];
    for await (const part of result.stream) {
      kinds.push(part.type);
      if (part.type === 'text-delta') control.abort();
    }
    return { last: kinds.at(-1), deltas: kinds.filter((kind) => kind === 'text-delta').length };
  },

  abort_json: async (name) => {
    const control = new AbortController();
    const ask = { model: vai(`${name};ttft=21`), prompt: 'Hello', abortSignal: control.signal, maxRetries: 0 };
    const [found] = await Promise.all([
      failure(() => generateText(ask)),
      abortOnArrival(`${name};ttft=21`, control),
    ]);
    return found;
  },
});
