-- Adds what was counted to its minutes.
insert into hookline_sender_minutes (environment, minute_ms, published, succeeded, failed, delivered, given_up, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11)
values /*rows*/ (:environment, :minute_ms, :published, :succeeded, :failed, :delivered, :given_up, :b0, :b1, :b2, :b3, :b4, :b5, :b6, :b7, :b8, :b9, :b10, :b11)
on conflict (environment, minute_ms) do update set
    published = hookline_sender_minutes.published + excluded.published,
    succeeded = hookline_sender_minutes.succeeded + excluded.succeeded,
    failed = hookline_sender_minutes.failed + excluded.failed,
    delivered = hookline_sender_minutes.delivered + excluded.delivered,
    given_up = hookline_sender_minutes.given_up + excluded.given_up,
    b0 = hookline_sender_minutes.b0 + excluded.b0,
    b1 = hookline_sender_minutes.b1 + excluded.b1,
    b2 = hookline_sender_minutes.b2 + excluded.b2,
    b3 = hookline_sender_minutes.b3 + excluded.b3,
    b4 = hookline_sender_minutes.b4 + excluded.b4,
    b5 = hookline_sender_minutes.b5 + excluded.b5,
    b6 = hookline_sender_minutes.b6 + excluded.b6,
    b7 = hookline_sender_minutes.b7 + excluded.b7,
    b8 = hookline_sender_minutes.b8 + excluded.b8,
    b9 = hookline_sender_minutes.b9 + excluded.b9,
    b10 = hookline_sender_minutes.b10 + excluded.b10,
    b11 = hookline_sender_minutes.b11 + excluded.b11
