use crate::text_enum::text_enum;

text_enum! {
    /// Where a message is in its life.
    ///
    /// ```text
    /// a message:   pending ──► delivered ──► read        (pending may become read at once)
    /// a draft:     pending ──► approved                  (once, by a person; both are final)
    ///                   └────► rejected
    /// ```
    pub enum MessageStatus("message status") {
        /// Not fetched yet; a draft that waits for its approval.
        Pending = "pending",
        /// Fetched by the recipient.
        Delivered = "delivered",
        /// Read by the recipient; final.
        Read = "read",
        /// A draft that may be sent; final.
        Approved = "approved",
        /// A draft that may not be sent; final.
        Rejected = "rejected",
    }
}

impl MessageStatus {
    /// The statuses that may follow this one, of a draft or of another message.
    #[must_use]
    pub const fn successors(self, draft: bool) -> &'static [Self] {
        match (self, draft) {
            (Self::Pending, false) => &[Self::Delivered, Self::Read],
            (Self::Delivered, false) => &[Self::Read],
            (Self::Pending, true) => &[Self::Approved, Self::Rejected],
            _ => &[],
        }
    }

    /// Whether it is what somebody decided about a draft.
    #[must_use]
    pub const fn is_decision(self) -> bool {
        matches!(self, Self::Approved | Self::Rejected)
    }
}
