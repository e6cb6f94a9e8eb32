//! What the agents of both companies write: to each other, and drafts to people outside.

use super::{DAY, HOUR};
use crate::MessageStatus;

/// A message of the sample. `from` and `to` are places in the list of agents; times are minutes.
#[derive(Debug)]
pub(crate) struct SampleMessage {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) subject: &'static str,
    pub(crate) body: &'static str,
    pub(crate) age_minutes: i32,
    pub(crate) state: Mail,
}

/// How far a message of the sample is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mail {
    Unread,
    Delivered,
    Read,
    /// To whom outside.
    Draft(&'static str),
    Approved(&'static str),
    Rejected(&'static str),
}

impl Mail {
    pub(crate) const fn status(self) -> MessageStatus {
        match self {
            Self::Unread | Self::Draft(_) => MessageStatus::Pending,
            Self::Delivered => MessageStatus::Delivered,
            Self::Read => MessageStatus::Read,
            Self::Approved(_) => MessageStatus::Approved,
            Self::Rejected(_) => MessageStatus::Rejected,
        }
    }

    pub(crate) const fn recipient(self) -> Option<&'static str> {
        match self {
            Self::Unread | Self::Delivered | Self::Read => None,
            Self::Draft(to) | Self::Approved(to) | Self::Rejected(to) => Some(to),
        }
    }
}

pub(super) const ACME: &[SampleMessage] = &[
    SampleMessage {
        from: 1,
        to: 0,
        subject: "Ridgeline tents",
        body: "The container is at sea until the 19th; 140 pieces, all sold. I can free 12 from the Reno showroom by Tuesday. \
               Who should get them?",
        age_minutes: 110,
        state: Mail::Read,
    },
    SampleMessage {
        from: 0,
        to: 1,
        subject: "Re: Ridgeline tents",
        body: "The four customers who leave before the 19th. I have their names in tickets 4711, 4718, 4722 and 4730.",
        age_minutes: 95,
        state: Mail::Read,
    },
    SampleMessage {
        from: 1,
        to: 0,
        subject: "Re: Ridgeline tents",
        body: "Set aside. The other eight stay in the showroom until you say otherwise.",
        age_minutes: 80,
        state: Mail::Delivered,
    },
    SampleMessage {
        from: 4,
        to: 0,
        subject: "Broken zips",
        body: "19 of the 31 returns from Denver are the same zip on the same jacket. That is no accident any more.",
        age_minutes: 2 * DAY - HOUR,
        state: Mail::Unread,
    },
    SampleMessage {
        from: 3,
        to: 1,
        subject: "Landed cost of trail shoes",
        body: "Duty on the second supplier went up by 4 points this month. Take 38.20 USD instead of 36.90.",
        age_minutes: 35,
        state: Mail::Unread,
    },
    SampleMessage {
        from: 3,
        to: 2,
        subject: "Spring sale",
        body: "No sale this spring: margin on tents is too thin. You can drop the banner.",
        age_minutes: 4 * DAY,
        state: Mail::Read,
    },
    SampleMessage {
        from: 0,
        to: 0,
        subject: "Your Ridgeline tent",
        body: "Your tent is on a ship that arrives on the 19th. If you cannot wait we refund you today; if you can, the \
               footprint is on us.",
        age_minutes: 50,
        state: Mail::Draft("customer-4722@mail.example"),
    },
    SampleMessage {
        from: 0,
        to: 0,
        subject: "Your refund",
        body: "We have everything that we need. The money is on its way and should be with you within three days.",
        age_minutes: DAY,
        state: Mail::Approved("customer-4655@mail.example"),
    },
    SampleMessage {
        from: 1,
        to: 1,
        subject: "Order of 400 pairs",
        body: "Please confirm 400 pairs in sizes 44 to 48 by Friday, at last year's price.",
        age_minutes: 3 * DAY,
        state: Mail::Rejected("sales@trailmaker.example"),
    },
];

pub(super) const GLOBEX: &[SampleMessage] = &[
    SampleMessage {
        from: 4,
        to: 0,
        subject: "Gate 3",
        body: "The terminal closed gate 3 at 05:40. Six of our trucks have slots there today, three of them reefers.",
        age_minutes: 75,
        state: Mail::Read,
    },
    SampleMessage {
        from: 0,
        to: 4,
        subject: "Re: Gate 3",
        body: "Reefers have new slots at gate 1. Tell me when the other three move more than an hour.",
        age_minutes: 40,
        state: Mail::Delivered,
    },
    SampleMessage {
        from: 1,
        to: 3,
        subject: "Consignee of the pumps",
        body: "The consignee changed its name last week. Please screen both before I file the declaration.",
        age_minutes: 3 * HOUR,
        state: Mail::Read,
    },
    SampleMessage {
        from: 3,
        to: 1,
        subject: "Re: Consignee of the pumps",
        body: "Both clear. The old name stays on the watch list until the register shows the new one.",
        age_minutes: 2 * HOUR,
        state: Mail::Unread,
    },
    SampleMessage {
        from: 2,
        to: 0,
        subject: "Waiting time in Valencia",
        body: "The terminal charges us for waiting that its own strike caused. Do you have the gate times of the 3rd?",
        age_minutes: 6 * HOUR,
        state: Mail::Unread,
    },
    SampleMessage {
        from: 4,
        to: 4,
        subject: "Delay of MSKU 482190-3",
        body: "Your container waits in Tangier for a berth. The new estimate for Hamburg is Sunday, 14:00.",
        age_minutes: 30,
        state: Mail::Draft("logistics@kunde.example"),
    },
    SampleMessage {
        from: 2,
        to: 2,
        subject: "Demurrage of October",
        body: "Invoice 88-1204 charges the same two days twice. We ask for a credit of 1,860 euros.",
        age_minutes: 5 * DAY,
        state: Mail::Approved("billing@terminal.example"),
    },
    SampleMessage {
        from: 4,
        to: 4,
        subject: "Delay of TGHU 771340-8",
        body: "It will surely be there on Thursday.",
        age_minutes: 2 * DAY,
        state: Mail::Rejected("import@kunde.example"),
    },
];
