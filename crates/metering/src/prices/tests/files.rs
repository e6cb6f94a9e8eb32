//! What files may and may not say.

use super::*;

fn flaws(text: &str) -> Vec<Flaw> {
    Catalogue::parse(text).unwrap_err().0
}

fn one(text: &str) -> String {
    let found = flaws(&format!("format = 1\n{text}"));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

fn of_price(more: &str) -> String {
    one(&provider(&model("m", more)))
}

#[test]
fn the_catalogue_in_the_program_is_valid_and_complete() {
    let all = Catalogue::embedded();
    assert!(all.models() > 80, "{}", all.models());
    for name in [
        "agents_api",
        "anthropic",
        "azure_openai",
        "github_copilot",
        "google",
        "google_code_assist",
        "openai",
        "openai_codex",
        "openai_compatible",
    ] {
        assert!(all.providers.contains_key(name), "{name}");
    }
    // each class has something to be compared with
    let mut classes = std::collections::BTreeMap::<_, usize>::new();
    for model in all.all().filter(|model| model.baseline) {
        *classes.entry(model.class.clone().unwrap()).or_default() += 1;
    }
    assert!(classes.values().all(|models| *models > 1), "{classes:?}");
}

#[test]
fn amounts_that_are_not_exact_are_refused() {
    assert!(
        of_price("input = 2.5").contains("line 11: invalid type: floating point `2.5`, expected an amount in quotes")
    );
    assert!(of_price("input = 2").contains("expected an amount in quotes"));
    assert!(of_price("input = \"0.0000001\"").contains("`0.0000001` has more than 6 decimals"));
    assert!(of_price("input = \"-1\"").contains("`-1` is no amount"));
    assert!(of_price("input = \"1e3\"").contains("`1e3` is no amount"));
}

#[test]
fn absurd_rates_are_refused() {
    assert!(of_price("input = \"2500\"").contains("was it meant in cents"));
    assert!(of_price("input = \"0.0000025\"").contains("has more than 6 decimals"));
    assert!(of_price("input = \"0.0005\"").contains("a price for one token or for a thousand"));
    assert!(of_price("input = \"1\"\nunits = { web_search = \"101\" }").contains("not for a thousand"));
    assert!(of_price("input = \"1\"\ncache_read = \"2\"").contains("costs more than plain input"));
    assert!(of_price("input = \"1\"\ncache_read = \"0\"").contains("`cache_read` is free while plain input is not"));
    assert!(of_price("input = \"1\"\nmultipliers = { fast = \"1.0001\" }").contains("more than 3 decimals"));
}

#[test]
fn unknown_members_are_refused_with_their_line() {
    let text = of_price("input = \"1\"\noutptu = \"2\"");
    assert!(text.starts_with("line 12: unknown field `outptu`"), "{text}");
    assert!(text.contains("hint: an unknown member would be a price that nobody pays"));
    assert!(of_price("input = \"1\"\ncontext = [{ above = 5, inputs = \"1\" }]").contains("unknown field `inputs`"));
}

#[test]
fn what_is_needed_is_asked_for() {
    assert!(of_price("").contains("has no rate"));
    assert!(of_price("input = \"1\"\nbatch = {}").contains("tier batch: has no rate"));
    assert!(of_price("input = \"1\"\ncontext = [{ input = \"1\" }]").contains("either `above` or `at_least`"));
    let without = "[[provider.model]]\nname = \"m\"\n[[provider.model.price]]\ninput = \"1\"\n";
    let found = flaws(&format!("format = 1\n{}", provider(without)));
    let problems: Vec<_> = found.iter().map(|flaw| flaw.problem.as_str()).collect();
    assert_eq!(
        problems,
        ["a price has no `from`", "`source` is empty or longer than 500 bytes", "a price has no `checked`"]
    );
    assert!(one(&provider("[[provider.model]]\nname = \"m\"\n")).contains("p/m: has no price"));
    assert_eq!(flaws("format = 2")[0].problem, "is `2`, this program reads `1`");
}

#[test]
fn a_moment_has_one_price() {
    let two = |first: &str, second: &str| {
        let price = |time: &str| {
            format!("[[provider.model.price]]\n{time}\nsource = \"s\"\nchecked = \"2026-01-01\"\ninput = \"1\"\n")
        };
        provider(&format!("[[provider.model]]\nname = \"m\"\n{}{}", price(first), price(second)))
    };
    let overlap = one(&two("from = \"2025-01-01\"\nto = \"2025-03-01\"", "from = \"2025-02-01\""));
    assert!(overlap.contains("p/m: the price from 2025-01-01 overlaps the one from 2025-02-01"), "{overlap}");
    assert!(overlap.starts_with("line "), "{overlap}");
    assert!(one(&two("from = \"2025-01-01\"", "from = \"2025-01-01\"")).contains("overlaps"));
    assert!(
        one(&two("from = \"2025-01-01\"\nto = \"2024-01-01\"", "from = \"2026-01-01\""))
            .contains("ends before it begins")
    );
    Catalogue::parse(&format!(
        "format = 1\n{}",
        two("from = \"2025-01-01\"\nto = \"2025-02-01\"", "from = \"2025-02-01\"")
    ))
    .unwrap();
}

#[test]
fn a_name_leads_to_one_model() {
    let twice = |second: &str| provider(&format!("{}{}", model("m", "input = \"1\""), model(second, "input = \"1\"")));
    assert!(one(&twice("m")).contains("the name `m` is `p/m`'s already"));
    let alias = model("n", "input = \"1\"").replace("class", "aliases = [\"m\"]\nclass");
    assert!(
        one(&provider(&format!("{}{alias}", model("m", "input = \"1\"")))).contains("the name `m` is `p/m`'s already")
    );
    assert!(one(&provider(&model("a*b", "input = \"1\""))).contains("`a*b` is no name of a model"));
    assert!(one(&format!("{}{}", provider(""), provider(""))).contains("is there twice"));
}

#[test]
fn every_flaw_is_told_at_once() {
    let text =
        provider(&format!("{}{}", model("m", "input = \"9999\""), model("n", "input = \"1\"\ncache_read = \"3\"")));
    assert_eq!(flaws(&format!("format = 1\n{text}")).len(), 2);
}

#[test]
fn what_was_loaded_lies_over_what_is_in_the_program() {
    let text = "format = 1\n[[provider]]\nname = \"openai\"\n[[provider.model]]\nname = \"gpt-4o\"\nclass = \"balanced\"\n\
        [[provider.model.price]]\nfrom = \"2020-01-01\"\nsource = \"contract\"\nchecked = \"2026-01-01\"\ninput = \"1\"\noutput = \"2\"\n\
        [[provider.model]]\nname = \"gpt-4.1-2025-04-14\"\n[[provider.model.price]]\nfrom = \"2020-01-01\"\nsource = \"contract\"\n\
        checked = \"2026-01-01\"\ninput = \"7\"\n";
    let loaded = Catalogue::parse(text).unwrap();
    let prices = Prices::with(&loaded, Vec::new());
    let usage = Usage { input: 1_000_000, ..Usage::default() };
    let cost = |provider, model| prices.cost(&query(provider, model, None, "2026-01-01"), &usage).cost_usd;
    assert_eq!(cost("openai", "gpt-4o"), usd("1"), "the loaded price");
    assert_eq!(cost("azure_openai", "gpt-4o"), usd("1"), "also where another has it from there");
    assert_eq!(cost("openai", "gpt-4.1"), usd("2"), "what is not named stays");
    assert_eq!(cost("openai", "gpt-4.1-2025-04-14"), usd("7"), "a name is no alias of another any more");
    let differences = diff::differences(&Catalogue::embedded(), &loaded.over(&Catalogue::embedded()));
    let named: Vec<_> = differences.iter().map(|d| format!("{}/{} {}", d.provider, d.model, d.change)).collect();
    let both = |provider: &str| {
        ["gpt-4.1 changed", "gpt-4.1-2025-04-14 added", "gpt-4o changed"].map(|rest| format!("{provider}/{rest}"))
    };
    assert_eq!(named, [both("azure_openai"), both("openai")].concat());
    let members: Vec<_> = differences[2].members.iter().map(|member| member.name.as_str()).collect();
    assert!(members.contains(&"2020-01-01/input") && members.contains(&"2024-10-02/cache_read"), "{members:?}");
    let alone = Prices::with(
        &Catalogue::parse(&text.replace("format = 1", "format = 1\nreplaces = true")).unwrap(),
        Vec::new(),
    );
    assert_eq!(alone.cost(&query("openai", "gpt-4.1", None, "2026-01-01"), &usage).cost_usd, None);
}
