-- Takes away everything an endpoint asks for.
delete from hookline_sender_subscriptions where endpoint_row = :endpoint_row
