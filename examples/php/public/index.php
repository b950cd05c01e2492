<?php
header('Content-Type: text/plain; charset=utf-8');
echo 'Hello from PHP, you asked for ', $_SERVER['REQUEST_URI'], "\n";
