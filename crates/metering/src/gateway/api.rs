//! Which API is spoken, and what is asked of it.

use crate::usage::Flavour;

/// An API that clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Api {
    OpenAi,
    Anthropic,
}

impl Api {
    /// What its paths begin with here; behind that they are the provider's, version included in the base address.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::OpenAi => "/llm/openai/v1",
            Self::Anthropic => "/llm/anthropic/v1",
        }
    }

    /// By a path.
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/llm/anthropic/") { Self::Anthropic } else { Self::OpenAi }
    }

    /// The provider whose account is taken unless one is named.
    pub(super) const fn provider(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// Whether a provider speaks it. All but Anthropic speak OpenAI's, or say that they do.
    pub(super) fn is_spoken_by(self, provider: &str) -> bool {
        (provider == "anthropic") == (self == Self::Anthropic)
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    ChatCompletions,
    Responses,
    Embeddings,
    Models,
    Messages,
    CountTokens,
    AnthropicModels,
}

impl Operation {
    pub(super) const ALL: [Self; 7] = [
        Self::ChatCompletions,
        Self::Responses,
        Self::Embeddings,
        Self::Models,
        Self::Messages,
        Self::CountTokens,
        Self::AnthropicModels,
    ];

    /// The name on the row.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat.completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Models | Self::AnthropicModels => "models",
            Self::Messages => "messages",
            Self::CountTokens => "messages.count_tokens",
        }
    }

    pub(super) const fn api(self) -> Api {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Embeddings | Self::Models => Api::OpenAi,
            Self::Messages | Self::CountTokens | Self::AnthropicModels => Api::Anthropic,
        }
    }

    /// How its answers count; `None` for what costs nothing.
    pub(super) const fn flavour(self) -> Option<Flavour> {
        match self {
            Self::ChatCompletions => Some(Flavour::OpenAiChat),
            Self::Responses => Some(Flavour::OpenAiResponses),
            Self::Embeddings => Some(Flavour::OpenAiEmbeddings),
            Self::Messages => Some(Flavour::AnthropicMessages),
            Self::Models | Self::CountTokens | Self::AnthropicModels => None,
        }
    }

    /// Whether it is a `GET`, without a body.
    pub(super) const fn is_read(self) -> bool {
        matches!(self, Self::Models | Self::AnthropicModels)
    }

    /// Its routes.
    pub(super) const fn paths(self) -> &'static [&'static str] {
        match self {
            Self::ChatCompletions => &["/llm/openai/v1/chat/completions"],
            Self::Responses => &["/llm/openai/v1/responses"],
            Self::Embeddings => &["/llm/openai/v1/embeddings"],
            Self::Models => &["/llm/openai/v1/models", "/llm/openai/v1/models/{*id}"],
            Self::Messages => &["/llm/anthropic/v1/messages"],
            Self::CountTokens => &["/llm/anthropic/v1/messages/count_tokens"],
            Self::AnthropicModels => &["/llm/anthropic/v1/models", "/llm/anthropic/v1/models/{*id}"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_below_its_apis_prefix() {
        for operation in Operation::ALL {
            for path in operation.paths() {
                assert!(path.starts_with(operation.api().prefix()), "{path}");
                assert_eq!(Api::of(path), operation.api());
            }
        }
    }
}
