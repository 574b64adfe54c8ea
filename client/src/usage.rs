//! `perilune usage`: what requests to models took, out of the ledger of the kernel that is asked.

use perilune_protocol::{BudgetState, LedgerReply, LedgerRequest, LedgerRow, ModelReply, ModelRequest, Reply, Request};

use anyhow::anyhow;

use crate::arguments::{Format, Global, Usage};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output::{print, print_json};
use crate::run::unexpected;
use crate::session::{Session, Via};
use crate::table::Table;

/// Asks for the table and shows it.
pub async fn run(usage: Usage, global: &Global, interrupts: &Interrupts) -> Result<(), Failure> {
    let mut session = Session::open(global.connect.as_deref(), interrupts).await?;
    let by = usage.by.as_str();
    let request = LedgerRequest { by: Some(by.to_owned()), since: usage.since };
    let request = Request::Model(ModelRequest::Usage(request));
    let reply = session.request(Via::Control, request, &mut |_| Ok(())).await;
    session.close().await;
    match (reply?, global.output) {
        (Reply::Model(ModelReply::Usage(reply)), Format::Json) => print_json(&reply),
        (Reply::Model(ModelReply::Usage(reply)), Format::Text) => print(&text(by, &reply)),
        (Reply::Error { error, .. }, _) if error.kind.as_deref() == Some("invalid_request") => {
            Err(Failure::Usage(anyhow!("{}", error.evalue)))
        }
        (Reply::Error { error, .. }, _) => Err(Failure::Refused(anyhow!("{}", error.evalue))),
        (other, _) => Err(unexpected(&other)),
    }
}

fn text(by: &str, reply: &LedgerReply) -> String {
    let mut text = match reply.rows.is_empty() {
        true => "no requests to models\n".to_owned(),
        false => table(by, reply),
    };
    if let Some(lent) = &reply.lent {
        text.push_str(&format!(
            "lent to other kernels: {} requests, {} tokens of prompts, {} of answers\n",
            lent.requests, lent.prompt_tokens, lent.completion_tokens
        ));
    }
    if reply.total.unpriced > 0 {
        text.push_str(&format!("without a known price: {} requests\n", reply.total.unpriced));
    }
    for BudgetState { period, unit, spent, limit } in &reply.budgets {
        text.push_str(&format!("budget of the {period}: {spent} of {limit} {unit}\n"));
    }
    text
}

fn table(by: &str, reply: &LedgerReply) -> String {
    let headings = ["requests", "failed", "prompt", "cached", "answer", "thinking", "first token", "tokens/s", "us$"];
    let [a, b, c, d, e, f, g, h, i] = headings;
    let mut table = Table::new([by, a, b, c, d, e, f, g, h, i]);
    let total = LedgerRow { key: "all".to_owned(), ..reply.total.clone() };
    // One row is its own sum.
    let total = (reply.rows.len() > 1).then_some(&total);
    for row in reply.rows.iter().chain(total) {
        table.row([
            row.key.clone(),
            row.requests.to_string(),
            row.failed.to_string(),
            row.prompt_tokens.to_string(),
            row.cached_tokens.to_string(),
            row.completion_tokens.to_string(),
            row.thinking_tokens.to_string(),
            row.first_token_ms.map_or("-".to_owned(), |time| format!("{time:.0} ms")),
            row.tokens_per_second.map_or("-".to_owned(), |speed| format!("{speed:.1}")),
            row.usd.map_or("-".to_owned(), |usd| format!("{usd:.4}")),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let row = LedgerRow { key: "local/m@box".to_owned(), requests: 2, unpriced: 2, ..LedgerRow::default() };
        let total = LedgerRow { key: String::new(), ..row.clone() };
        let reply = LedgerReply { rows: vec![row], total, ..LedgerReply::default() };
        let text = text("model", &reply);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].ends_with("-            -         -"), "{text}");
        assert_eq!(lines[2], "without a known price: 2 requests");
    }
}
