/// Conversations that checkpoints without a chat template name or mean, as Jinja: message contents are strings.
enum ConversationTemplate {
    /// Vicuna 1.1's, FastChat's `vicuna_v1.1`.
    static let vicuna = """
        {%- set system = "A chat between a curious user and an artificial intelligence assistant. \
        The assistant gives helpful, detailed, and polite answers to the user's questions." -%}
        {%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}{%- endif -%}
        {{- system + ' ' -}}
        {%- for message in messages -%}
        {%- if message['role'] == 'user' -%}{{- 'USER: ' + message['content'] + ' ' -}}
        {%- elif message['role'] == 'assistant' -%}{{- 'ASSISTANT: ' + message['content'] + '</s>' -}}
        {%- endif -%}
        {%- endfor -%}
        {%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}
        """

    /// Mistral's instructions, with Llama 2's form for a system message.
    static let mistral = """
        {%- set system = '' -%}
        {%- if messages[0]['role'] == 'system' -%}
        {%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' -%}
        {%- set messages = messages[1:] -%}
        {%- endif -%}
        {%- for message in messages -%}
        {%- if message['role'] == 'user' -%}
        {{- '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' -}}
        {%- else -%}{{- ' ' + message['content'] + ' </s>' -}}
        {%- endif -%}
        {%- endfor -%}
        """

    /// ChatML.
    ///
    /// - Parameters:
    ///   - system: the system message where there is none.
    ///   - lineEnd: what follows `<|im_end|>`, escaped.
    static func chatML(system: String, lineEnd: String) -> String {
        """
        {%- if messages[0]['role'] != 'system' -%}{{- '<|im_start|>system\\n\(system)<|im_end|>\(lineEnd)' -}}{%- endif -%}
        {%- for message in messages -%}
        {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\(lineEnd)' -}}
        {%- endfor -%}
        {%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
        """
    }

    /// Yi-VL's `mm_default`.
    static let yi = """
        {%- set system = "This is a chat between an inquisitive human and an AI assistant. Assume the role of the AI assistant. \
        Read all the images carefully, and respond to the human's questions with informative, helpful, detailed and polite answers. \
        这是一个好奇的人类和一个人工智能助手之间的对话。假设你扮演这个AI助手的角色。\
        仔细阅读所有的图像，并对人类的问题做出信息丰富、有帮助、详细的和礼貌的回答。" -%}
        {%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}{%- endif -%}
        {{- system + '\\n\\n### ' -}}
        {%- for message in messages -%}
        {%- if message['role'] == 'user' -%}{{- 'Human: ' + message['content'] + '\\n### ' -}}
        {%- elif message['role'] == 'assistant' -%}{{- 'Assistant: ' + message['content'] + '\\n### ' -}}
        {%- endif -%}
        {%- endfor -%}
        {%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}
        """
}
