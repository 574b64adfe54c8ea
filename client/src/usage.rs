//! `perilune usage`: what requests to models took, out of the ledger of the kernel that is asked.

use perilune_protocol::{
    BudgetState, CountedRequest, LedgerReply, LedgerRequest, LedgerRow, ModelReply, ModelRequest, Reply, Request,
};

use anyhow::anyhow;

use crate::arguments::{By, Format, Global, Usage};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output::{print, print_json};
use crate::run::unexpected;
use crate::session::{Session, Via};
use crate::table::Table;

/// Characters of a session's name in a table; JSON has them all.
const SESSION: usize = 8;

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
    if reply.total.requests > reply.rows.len() as u64 && by == By::Request.as_str() {
        text.push_str(&format!("the newest {} of {} requests\n", reply.rows.len(), reply.total.requests));
    }
    if reply.total.untold > 0 {
        let what = "requests told no tokens, such as those that failed; only the pieces of their answers count";
        text.push_str(&format!("untold: {} {what}\n", reply.total.untold));
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
    let total = LedgerRow { key: "all".to_owned(), ..reply.total.clone() };
    // One row is its own sum.
    let total = (reply.rows.len() > 1).then_some(&total);
    let rows = reply.rows.iter().chain(total);
    let [a, b, c, d, e, f, g, h] =
        ["untold", "prompt", "cached", "answer", "thinking", "first token", "tokens/s", "us$"];
    if by == By::Request.as_str() {
        let mut table = Table::new([by, "session", "model", "instance", "outcome", a, b, c, d, e, f, g, h]);
        for row in rows {
            let [a, b, c, d, e, f, g, h] = figures(row);
            let CountedRequest { session, model, instance, outcome } = row.request.clone().unwrap_or_default();
            let session = session.chars().take(SESSION).collect();
            table.row([row.key.clone(), session, model, instance, outcome, a, b, c, d, e, f, g, h]);
        }
        return table.to_string();
    }
    let mut table = Table::new([by, "requests", "failed", a, b, c, d, e, f, g, h]);
    for row in rows {
        let [a, b, c, d, e, f, g, h] = figures(row);
        table.row([row.key.clone(), row.requests.to_string(), row.failed.to_string(), a, b, c, d, e, f, g, h]);
    }
    table.to_string()
}

/// What some requests took.
fn figures(row: &LedgerRow) -> [String; 8] {
    [
        row.untold.to_string(),
        row.prompt_tokens.to_string(),
        row.cached_tokens.to_string(),
        row.completion_tokens.to_string(),
        row.thinking_tokens.to_string(),
        row.first_token_ms.map_or("-".to_owned(), |time| format!("{time:.0} ms")),
        row.tokens_per_second.map_or("-".to_owned(), |speed| format!("{speed:.1}")),
        row.usd.map_or("-".to_owned(), |usd| format!("{usd:.4}")),
    ]
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
