-- Gives a listener another secret, which holds from now on.
update hookline_sender_listeners set secret_enc = :secret_enc where environment = :environment and name = :name
