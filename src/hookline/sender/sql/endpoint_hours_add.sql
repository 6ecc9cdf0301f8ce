-- Adds what was counted to the hours of endpoints; the last attempt's time never goes back.
insert into hookline_sender_endpoint_hours (endpoint_row, hour_ms, succeeded, failed, delivered, given_up, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, last_ms)
values /*rows*/ (:endpoint_row, :hour_ms, :succeeded, :failed, :delivered, :given_up, :b0, :b1, :b2, :b3, :b4, :b5, :b6, :b7, :b8, :b9, :b10, :b11, :last_ms)
on conflict (endpoint_row, hour_ms) do update set
    succeeded = hookline_sender_endpoint_hours.succeeded + excluded.succeeded,
    failed = hookline_sender_endpoint_hours.failed + excluded.failed,
    delivered = hookline_sender_endpoint_hours.delivered + excluded.delivered,
    given_up = hookline_sender_endpoint_hours.given_up + excluded.given_up,
    b0 = hookline_sender_endpoint_hours.b0 + excluded.b0,
    b1 = hookline_sender_endpoint_hours.b1 + excluded.b1,
    b2 = hookline_sender_endpoint_hours.b2 + excluded.b2,
    b3 = hookline_sender_endpoint_hours.b3 + excluded.b3,
    b4 = hookline_sender_endpoint_hours.b4 + excluded.b4,
    b5 = hookline_sender_endpoint_hours.b5 + excluded.b5,
    b6 = hookline_sender_endpoint_hours.b6 + excluded.b6,
    b7 = hookline_sender_endpoint_hours.b7 + excluded.b7,
    b8 = hookline_sender_endpoint_hours.b8 + excluded.b8,
    b9 = hookline_sender_endpoint_hours.b9 + excluded.b9,
    b10 = hookline_sender_endpoint_hours.b10 + excluded.b10,
    b11 = hookline_sender_endpoint_hours.b11 + excluded.b11,
    last_ms = case when excluded.last_ms > hookline_sender_endpoint_hours.last_ms then excluded.last_ms else hookline_sender_endpoint_hours.last_ms end
