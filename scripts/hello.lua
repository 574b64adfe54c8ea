-- Greets the default model and asks it a few things. The answers appear word by word, as the model finds them.
--
--   perilune run scripts/hello.lua

local questions = {
  "Hello!",
  "What is the capital of France?",
  "What is 12 + 30?",
  "Write a haiku about the moon.",
}

for _, question in ipairs(questions) do
  print("> " .. question)
  -- Temperature 0 takes the likeliest word every time: the same answers in every run.
  for piece in LocalLLM.stream({ { role = "user", content = question } }, { temperature = 0, max_tokens = 200 }) do
    io.write(piece)
  end
  print("\n")
end
