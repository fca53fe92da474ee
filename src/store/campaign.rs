//! Campaigns as JSON documents.

use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;
use serde_json::Value;

use super::error::StoreError;
use super::sql::Sql;
use super::sqlite::SqliteStore;
use crate::call::record::UtcMicros;
use crate::units::CampaignId;

static SELECT: Sql = Sql::new("SELECT id, document, updated_at, updated_by FROM campaign WHERE id = $1");
static LIST: Sql = Sql::new("SELECT id, document, updated_at, updated_by FROM campaign ORDER BY id");
static PUT: Sql = Sql::new(
    "INSERT INTO campaign (id, document, updated_at, updated_by) VALUES ($1, $2, $3, $4)
     ON CONFLICT (id) DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at,
        updated_by = excluded.updated_by",
);

/// A campaign as stored, with who changed it last and when.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CampaignDocument {
    pub id: CampaignId,
    pub document: Value,
    pub updated_at: UtcMicros,
    pub updated_by: String,
}

/// Campaigns by id.
pub trait CampaignStore {
    fn campaign(&self, id: &CampaignId) -> Result<Option<CampaignDocument>, StoreError>;

    /// All campaigns, by id.
    fn campaigns(&self) -> Result<Vec<CampaignDocument>, StoreError>;

    /// Keeps a campaign in place of what was kept under its id.
    fn put_campaign(&self, campaign: &CampaignDocument) -> Result<(), StoreError>;
}

impl CampaignStore for SqliteStore {
    fn campaign(&self, id: &CampaignId) -> Result<Option<CampaignDocument>, StoreError> {
        self.read(|reading| {
            let mut statement = reading.prepare_cached(SELECT.sqlite())?;
            Ok(statement.query_row([id.as_str()], document).optional()?)
        })
    }

    fn campaigns(&self) -> Result<Vec<CampaignDocument>, StoreError> {
        self.read(|reading| {
            let mut statement = reading.prepare_cached(LIST.sqlite())?;
            let rows = statement.query_map([], document)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn put_campaign(&self, campaign: &CampaignDocument) -> Result<(), StoreError> {
        let CampaignDocument {
            id,
            document,
            updated_at,
            updated_by,
        } = campaign;
        self.write(|writing| {
            writing.prepare_cached(PUT.sqlite())?.execute(params![
                id.as_str(),
                document.to_string(),
                updated_at.0,
                updated_by
            ])?;
            Ok(())
        })
    }
}

fn document(row: &Row<'_>) -> rusqlite::Result<CampaignDocument> {
    let text: String = row.get(1)?;
    let unreadable =
        |error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error));
    Ok(CampaignDocument {
        id: CampaignId::new(row.get::<_, String>(0)?),
        document: serde_json::from_str(&text).map_err(unreadable)?,
        updated_at: UtcMicros(row.get(2)?),
        updated_by: row.get(3)?,
    })
}
