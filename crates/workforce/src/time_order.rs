/// Declares the orders of a list that is sorted by one instant only, for lists that grow without end: both are served by an
/// index, and nothing else is sorted.
macro_rules! time_order {
    ($(#[$meta:meta])* $name:ident of $record:ident in $list:ident by $field:ident: $newest:tt, $oldest:tt) => {
        $crate::text_enum::text_enum! {
            $(#[$meta])*
            pub enum $name("order") {
                /// The newest first.
                Newest = $newest,
                /// The oldest first.
                Oldest = $oldest,
            }
        }

        impl $crate::Order for $name {
            const LIST: $crate::List = $crate::List::$list;

            fn code(self) -> u8 {
                self as u8
            }
        }

        impl $record {
            /// Where the record stands in either order.
            pub(crate) fn place(&self) -> $crate::Place {
                $crate::Place { key: $crate::Key::Time(self.$field), id: *self.id.as_uuid() }
            }
        }
    };
}
pub(crate) use time_order;
