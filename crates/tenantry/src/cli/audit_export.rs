//! `tenantry audit export`.

use std::io::{BufWriter, ErrorKind, Write};

use tenantry::Settings;
use tenantry_postgres::{AuditTrail, ChainedEvent};

use super::audit::{ExportArgs, Format, Told, write_anchors};
use super::{CliError, Global, say};

const COLUMNS: [&str; 13] = [
    "tenant_id",
    "seq",
    "id",
    "at",
    "actor_kind",
    "actor",
    "action",
    "target",
    "request_id",
    "client_ip",
    "details",
    "prev_hash",
    "hash",
];

pub(super) async fn run(
    args: ExportArgs,
    global: &Global,
    settings: &Settings,
    trail: &AuditTrail,
) -> Result<(), CliError> {
    let chains = match args.one.chain(global, settings).await? {
        Some(chain) => vec![chain],
        None => trail.chains().await?,
    };
    let mut sheet = Sheet::new(args.format, std::io::stdout());
    let mut anchors = Vec::new();
    let mut told = Told::new();
    let mut events = 0_u64;
    sheet.begin()?;
    for chain in chains {
        let mut outcome = Ok(());
        let head = trail
            .export(chain, args.range(), |event| {
                events += 1;
                told.say(|| format!("{events} events written"));
                outcome = sheet.write(event);
                outcome.is_ok()
            })
            .await?;
        match outcome.and_then(|()| sheet.flush()) {
            // a reader that has seen enough (`| head`) is no error, but what it did not see has no anchor
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        anchors.extend(head);
    }
    if let Some(path) = &args.write_anchors {
        write_anchors(path, &anchors)?;
    }
    anchors.iter().for_each(|anchor| say(format!("anchor {anchor}")));
    Ok(())
}

/// Events as lines of text.
enum Sheet<W: Write> {
    Jsonl(BufWriter<W>),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Sheet<W> {
    fn new(format: Format, out: W) -> Self {
        match format {
            Format::Jsonl => Self::Jsonl(BufWriter::new(out)),
            Format::Csv => Self::Csv(Box::new(csv::Writer::from_writer(out))),
        }
    }

    fn begin(&mut self) -> std::io::Result<()> {
        match self {
            Self::Jsonl(_) => Ok(()),
            Self::Csv(out) => out.write_record(COLUMNS).map_err(into_io),
        }
    }

    fn write(&mut self, event: &ChainedEvent) -> std::io::Result<()> {
        match self {
            Self::Jsonl(out) => {
                serde_json::to_writer(&mut *out, event)?;
                out.write_all(b"\n")
            }
            Self::Csv(out) => {
                let tenant = event.tenant_id.map(|id| id.to_string()).unwrap_or_default();
                let (seq, id) = (event.seq.to_string(), event.id.to_string());
                let cells: [&str; COLUMNS.len()] = [
                    &tenant,
                    &seq,
                    &id,
                    &event.at,
                    &event.actor_kind,
                    &event.actor,
                    &event.action,
                    &event.target,
                    event.request_id.as_deref().unwrap_or_default(),
                    event.client_ip.as_deref().unwrap_or_default(),
                    &event.details_text,
                    &event.prev_hash,
                    &event.hash,
                ];
                out.write_record(cells).map_err(into_io)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Jsonl(out) => out.flush(),
            Self::Csv(out) => out.flush(),
        }
    }
}

fn into_io(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}
